"""Every number of every request and every option at its edges: embedded and served give the same status and reason."""

from __future__ import annotations

import math
import socket
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from motet.answers.answer_stream import collect_answer
from motet.core.errors import Reason, SettingsError
from motet.core.media import Media
from motet.core.request import DecoderOptions, GenerationRequest, Message
from motet.core.service import Motet
from orchestrator.settings import OrchestratorSettings
from services.benchmarks import settings as benchmarks
from services.benchmarks import simulation_settings as simulations
from services.cli.request_options import RequestOptions, request_options_of
from services.cli.top.command import TopOptions
from services.cli.up import UpOptions
from services.cli.up import app as up_app
from services.decoder.settings import DecoderSettings
from services.encoder.settings import EncoderSettings
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import settings_of
from services.up.deployment import deployment_of
from tests.media.samples import picture_file
from tests.services.both import Both

TINY, HUGE, NAN, INF = math.ulp(0.0), 1e308, math.nan, math.inf
OK, INVALID = None, Reason.INVALID_REQUEST
HELLO = GenerationRequest((Message("user", ("hello",)),), allowed_modalities=frozenset({"image"}), seed=1)


def options(**fields: Any) -> dict[str, Any]:
    return {"decoder_options": {"image": DecoderOptions(**fields)}}


# The expected reason of each value, or None if the request is served.
FIELDS: dict[str, tuple[Any, Mapping[float, Reason | None]]] = {
    "seed": (lambda x: {"seed": x}, {0: OK, -1: INVALID, 2**64 - 1: OK, 2**64: INVALID, NAN: INVALID, INF: INVALID}),
    "temperature": (
        lambda x: {"temperature": x},
        {0: OK, -1: INVALID, TINY: OK, 5: OK, 5.1: INVALID, HUGE: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "top_p": (
        lambda x: {"temperature": 1.0, "top_p": x},
        {0: OK, -1: INVALID, TINY: OK, 1: OK, 1.1: INVALID, HUGE: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "max_output_tokens": (
        lambda x: {"max_output_tokens": x},
        {0: INVALID, -1: INVALID, 1: OK, 32_768: OK, 32_769: INVALID, 2**70: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "max_parts": (
        lambda x: {"max_parts": {"image": x}},
        {0: OK, -1: INVALID, 2**31 - 1: OK, 2**31: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "priority": (
        lambda x: {"priority": x},
        {0: OK, -2: OK, 2: OK, -3: INVALID, 3: INVALID, 2**70: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "timeout": (
        lambda x: {"timeout": x},
        {
            0: INVALID,
            -1: INVALID,
            TINY: INVALID,
            604_800: OK,
            604_801: INVALID,
            HUGE: INVALID,
            NAN: INVALID,
            INF: INVALID,
        },
    ),
    "steps": (
        lambda x: options(steps=x),
        {0: INVALID, -1: INVALID, 1: OK, 1000: OK, 1001: INVALID, 2**70: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "min_steps": (
        lambda x: options(min_steps=x),
        {0: INVALID, -1: INVALID, 1: OK, 1000: OK, 1001: INVALID, 2**70: INVALID, NAN: INVALID, INF: INVALID},
    ),
    "guidance": (
        lambda x: options(guidance=x),
        {0: INVALID, -1: INVALID, TINY: INVALID, 1: OK, 50: OK, 50.1: INVALID, HUGE: INVALID, NAN: INVALID},
    ),
}
CASES = [(field, value) for field, (_, values) in FIELDS.items() for value in values]


async def test_a_number_of_a_request_has_the_same_outcome_embedded_and_served(both: Both) -> None:
    wrong = []
    for field, value in CASES:
        change, expected = FIELDS[field]
        request = GenerationRequest(**{**_fields(HELLO), **change(value)})
        outcomes = await both.outcomes(lambda motet, request=request: collect_answer(motet, request))
        if outcomes != [expected[value]] * 2:
            wrong.append((field, value, outcomes))

    assert not wrong


async def test_the_other_calls_have_the_same_outcomes_embedded_and_served(both: Both) -> None:
    name = (await collect_answer(both.embedded, HELLO)).generation.name
    artifact = (await both.embedded.upload(Media("", picture_file("PNG")))).name

    async def watch(motet: Motet, value: int) -> None:
        [event async for event in motet.watch(name, value)]

    async def download(motet: Motet, value: int) -> None:
        [chunk async for chunk in motet.download(artifact, value)]

    async def list_page(motet: Motet, value: int) -> None:
        await motet.generations(value)

    table = {
        watch: {0: OK, -1: INVALID, 10**6: INVALID, 2**63 - 1: INVALID, 2**70: INVALID},
        download: {0: OK, -1: INVALID, 10**6: OK, 2**63 - 1: OK, 2**63: INVALID, 2**70: INVALID},
        list_page: {0: OK, -1: INVALID, 10**6: OK, 2**31 - 1: OK, 2**31: INVALID, 2**70: INVALID},
    }
    wrong = []
    for call, expected in table.items():
        for value, reason in expected.items():
            outcomes = await both.outcomes(lambda motet, call=call, value=value: call(motet, value))
            if outcomes != [reason] * 2:
                wrong.append((call.__name__, value, outcomes))

    assert not wrong


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({"steps": ["image=0"]}, INVALID),
        ({"steps": ["image=-1"]}, INVALID),
        ({"steps": ["image=1e308"]}, INVALID),
        ({"steps": ["image=1"]}, OK),
        ({"min_steps": ["image=0"]}, INVALID),
        ({"guidance": ["image=inf"]}, INVALID),
        ({"guidance": ["image=nan"]}, INVALID),
        ({"guidance": ["image=5e-324"]}, INVALID),
        ({"guidance": ["image=2"]}, OK),
        ({"timeout": 604_800.0}, OK),
    ],
)
async def test_typed_options_have_the_same_outcome_embedded_and_served(
    both: Both, typed: dict[str, Any], reason: Reason | None
) -> None:
    async def run(motet: Motet) -> None:
        await collect_answer(motet, request_options_of(typed).request([Message("user", ("hello",))]))

    assert await both.outcomes(run) == [reason] * 2


BENCHMARKS: dict[str, type[BaseModel]] = {
    name: kind for name, kind in (vars(benchmarks) | vars(simulations)).items() if name.endswith("BenchSettings")
}
MODELS: list[type[BaseModel]] = [
    EncoderSettings,
    LanguageModelSettings,
    DecoderSettings,
    OrchestratorSettings,
    OrchestratorServiceSettings,
    RequestOptions,
    TopOptions,
    UpOptions,
    *BENCHMARKS.values(),
]
SIGNED = {"seed", "priority", "max_priority", "jwt_default_max_priority"}
"""Options that may be negative."""
PAIRS = {"steps", "guidance", "min_steps", "replicas"}
"""Options whose numbers the request or the deployment checks, too: those refuse negative and huge numbers."""
OF_PAIRS = PAIRS | {"price"}
"""Options of the form KEY=NUMBER."""


def numbers_of(annotation: Any) -> Iterator[type]:
    """Yield int and float if a field may hold such a number, alone or in a list or a mapping."""
    if annotation in (int, float):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, list, Mapping) or get_args(annotation):
        for argument in get_args(annotation)[: 1 if get_origin(annotation) is Annotated else None]:
            yield from numbers_of(argument)


NUMBERS = [
    (model, name) for model in MODELS for name, field in model.model_fields.items() if set(numbers_of(field.annotation))
]


@pytest.mark.parametrize(("model", "name"), NUMBERS, ids=[f"{model.__name__}.{name}" for model, name in NUMBERS])
def test_an_option_refuses_numbers_that_are_not_finite_negative_or_huge(model: type[BaseModel], name: str) -> None:
    annotation = model.model_fields[name].annotation
    required = {other: "image" for other, one in model.model_fields.items() if one.is_required()}
    values: list[Any] = [NAN, INF, -INF]
    if name not in SIGNED | PAIRS:
        values += [-1, -TINY]
    if model.__name__ not in BENCHMARKS and name not in PAIRS:
        values += [HUGE, 10**30]  # a benchmark may be as long as its user wants

    for value in values:
        number: Any = [f"image={value}"] if name in OF_PAIRS else [value] if get_origin(annotation) is tuple else value
        with pytest.raises(SettingsError, match=name.replace("_", ".")):
            settings_of(model, {**required, name: number})


@pytest.mark.parametrize("number", [0, -1, 10**30])
def test_a_deployment_refuses_a_wrong_number_of_replicas(number: int) -> None:
    with pytest.raises(SettingsError, match="replicas"):
        deployment_of("nano", 0, 1, True, 0.0, False, {"image": number})


@pytest.mark.parametrize(
    ("port", "metrics_port", "reason"),
    [
        (0, 65_530, "65536 does not exist"),
        (9000, 9000, "9000 is that of --port"),
        (9003, 9000, "9003 is that of --port"),
    ],
)
def test_a_deployment_refuses_ports_of_metrics_that_it_cannot_have(port: int, metrics_port: int, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        deployment_of("", port, 1, True, 0.0, False, metrics_port=metrics_port)


def test_a_port_of_metrics_that_is_in_use_is_refused_before_a_service_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # The port of the second service, if the first one is free.
        result = CliRunner().invoke(up_app, ["--toy", "--port", "0", "--metrics-port", str(port - 1)])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "in use" in result.stderr


def _fields(request: GenerationRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__dataclass_fields__}
