"""Environment variables: unknown names are refused with the nearest known name, wrong values in one line."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.cli.checks.environment import check_environment, known_names
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import settings_of
from tests.services.command import CLEAN, motet

ROOT = Path(__file__).parents[4]
CODE = ("motet", "orchestrator", "services", "examples", "docs", "tests/services/command.py", "README.md", "Makefile")
# Names that stand for others, in comments and docstrings.
PLACEHOLDERS = {"MOTET_NAME", "MOTET_ENCODER_PORT_50051_TCP_ADDR", "MOTET_DECODERS__SHAPE"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MOTET_MAX_DURATON", "MOTET_MAX_DURATION"),
        ("MOTET_THREAD", "MOTET_THREADS"),
        ("motet_devise", "MOTET_DEVICE"),
        ("MOTET_LLM_KV_TOKENS", "MOTET_KV_TOKENS"),
        ("MOTET_DECODER__image", "MOTET_DECODERS"),
        # Only mappings have nested variables. Without an error, this one would have no effect.
        ("MOTET_THREADS__LLM", "MOTET_THREADS"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"there is no setting {name}: the nearest name is {nearest};"):
        check_environment({name: "9"})


@pytest.mark.parametrize(
    "environment",
    [
        {"MOTET_THREADS": "2", "MOTET_EMOJI": "node_modules", "PATH": "/bin"},
        {"motet_threads": "2"},
        {"MOTET_DECODERS__image": "a:1"},
        # Kubernetes adds these for services with the names "motet" and "motet-encoder".
        {"MOTET_PORT": "tcp://10.0.0.1:50050", "MOTET_SERVICE_HOST": "10.0.0.1", "MOTET_SERVICE_PORT_GRPC": "50050"},
        {"MOTET_ENCODER_PORT_50051_TCP_ADDR": "10.0.0.2", "MOTET_ENCODER_PORT": "tcp://10.0.0.2:50051"},
    ],
)
def test_known_names_and_names_from_kubernetes_are_accepted(environment: dict[str, str]) -> None:
    check_environment(environment)


def test_a_port_that_a_person_sets_is_not_taken_for_one_from_kubernetes() -> None:
    with pytest.raises(SettingsError, match="MOTET_PORT"):
        check_environment({"MOTET_PORT": "50050"})


@pytest.mark.parametrize(
    "command",
    [
        ["run", "hello", "--toy"],
        ["up", "--toy", "--port", "0"],
        ["serve", "encoder", "--toy", "--listen", "127.0.0.1:0"],
        ["bench", "hardware"],
    ],
)
def test_every_command_refuses_an_unknown_name_in_one_line(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_MAX_DURATON", "9")

    result = motet(*command)

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "the nearest name is MOTET_MAX_DURATION" in line


@pytest.mark.parametrize("kind", ["encoder", "llm", "decoder", "orchestrator"])
def test_a_service_refuses_an_unknown_name_before_it_listens(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_GRACE_PERIOD", "9")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # The address would be refused first by a service that listens.
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = motet("serve", kind, "--toy", "--listen", address, "--metrics", address)

    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no setting MOTET_GRACE_PERIOD: the nearest name is MOTET_GRACE;" in result.stderr


def test_every_service_accepts_the_variables_of_all_kinds_because_they_share_an_environment() -> None:
    check_environment(dict.fromkeys(known_names(), "1"))


def test_a_misspelt_option_is_refused_with_the_nearest_option() -> None:
    result = motet("serve", "encoder", "--toy", "--listne", "127.0.0.1:0")

    assert result.returncode == 2
    assert "No such option: --listne" in result.stderr
    assert "--listen" in result.stderr


def test_all_names_in_the_code_and_the_documents_are_known() -> None:
    files = [
        file
        for name in CODE
        for file in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
        if file.suffix in {".py", ".md", "", ".yaml", ".toml"} and file.is_file() and "adr" not in file.parts
    ]
    found = {name for file in files for name in re.findall(r"\bMOTET_[A-Z_]*[A-Z]\b", file.read_text())}

    assert len(found) > 20
    assert found - known_names() <= PLACEHOLDERS


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "MOTET_DECODERS",
            "image=1",
            r"\(MOTET_DECODERS\) is wrong: write JSON, such as '{\"MODALITY",
        ),
        ("MOTET_DECODERS", '{"image": 1}', r"\(MOTET_DECODERS\) is wrong at 'image': Input should be a valid string"),
        ("MOTET_DECODERS", "[1]", r"\(MOTET_DECODERS\) is wrong: Input should be a valid dictionary"),
        ("MOTET_MAX_DURATION", "soon", r"\(MOTET_MAX_DURATION\) is wrong: Input should be a valid number"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=message):
        settings_of(OrchestratorServiceSettings, {})


@pytest.mark.parametrize("command", [["serve", "orchestrator", "--toy"], ["run", "hello", "--toy"]])
def test_a_wrong_value_is_one_line(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_DECODERS", "image=1")

    result = motet(*command)

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "MOTET_DECODERS" in line


def test_an_empty_variable_is_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MOTET_DECODERS", "MOTET_THREADS", "MOTET_TOY_DELAY", "MOTET_MAX_DURATION"):
        monkeypatch.setitem(CLEAN, name, "")

    result = motet("run", "hello", "--toy", "--only", "text", folder=tmp_path)

    assert (result.returncode, result.stdout) == (0, "You said: hello.\n"), result.stderr


def test_a_decoder_without_a_modality_is_refused_with_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    result = motet("serve", "decoder", "--toy")

    assert result.returncode == 2
    assert "the setting modality (MOTET_MODALITY) is missing: set --modality" in result.stderr


def test_a_deployment_refuses_a_wrong_setting_of_its_services_before_it_starts_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_KV_TOKENS", "0")

    result = motet("up", "--toy", "--port", 0)

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "MOTET_KV_TOKENS" in line
