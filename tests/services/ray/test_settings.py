"""Tests of the values of a worker in Ray Serve."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import ValidationError

from services.ray.deployment import RayDeployment
from services.ray.settings import RayWorker
from services.up.deployment import deployment_of
from tests.services.command import motet


def deployment(**replicas: int) -> RayDeployment:
    """Return a deployment of toys in Ray."""
    return RayDeployment.of(deployment_of("", 0, 1, toy=True, toy_delay=0.5, background=True, replicas=replicas))


def test_a_fixed_number_of_replicas_needs_no_scaling() -> None:
    options = RayWorker(kind="llm", min_replicas=2, max_replicas=2).deployment_options()

    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options


def test_replicas_scale_between_the_bounds_by_the_calls_of_each() -> None:
    worker = RayWorker(kind="llm", min_replicas=0, max_replicas=3, max_running=4, target_ongoing_requests=2)
    options = worker.deployment_options()

    assert options["autoscaling_config"] == {
        "min_replicas": 0,
        "max_replicas": 3,
        "target_ongoing_requests": 2,
        "upscale_delay_s": 10,
        "downscale_delay_s": 600,
    }
    assert options["max_ongoing_requests"] == 4
    assert "num_replicas" not in options


def test_a_replica_gets_its_resources_and_the_time_to_finish() -> None:
    worker = RayWorker(kind="encoder", num_cpus=2, num_gpus=0.25, memory=2**30, resources={"a": 0.1}, grace=50)
    options = worker.deployment_options()

    assert options["ray_actor_options"] == {"num_cpus": 2, "num_gpus": 0.25, "memory": 2**30, "resources": {"a": 0.1}}
    assert options["graceful_shutdown_timeout_s"] == 50


def test_the_service_gets_its_options() -> None:
    worker = RayWorker(kind="decoder", modality="image", max_running=3, options={"bundle": "nano"})

    assert worker.service_options() == {"bundle": "nano", "modality": "image", "max_running": 3, "grace": 30}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "decoder"}, "a decoder needs a modality"),
        ({"kind": "llm", "modality": "image"}, "a decoder needs a modality"),
        ({"kind": "llm", "min_replicas": 2}, "min_replicas is above max_replicas"),
        ({"kind": "llm", "min_replicas": 0, "target_ongoing_requests": 9}, "no load would start another replica"),
        ({"kind": "llm", "options": {"listen": "0.0.0.0:1"}}, "options cannot have listen"),
        ({"kind": "llm", "num_gpu": 1}, "Extra inputs are not permitted"),
        ({"kind": "llama"}, "'encoder', 'llm' or 'decoder'"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RayWorker.model_validate(values)


def test_every_worker_of_a_deployment_is_an_application_and_no_process() -> None:
    in_ray = deployment(image=2)
    workers = in_ray.ray_workers()

    assert in_ray.workers() == {}
    assert {f"ray:{name}" for name in workers} == {
        argument.rpartition("=")[2] for argument in in_ray.orchestrator({}) if "=" in argument
    }
    assert (workers["motet-image"].modality, workers["motet-image"].max_replicas) == ("image", 2)
    assert workers["motet-llm"].options["toy_delay"] == 0.5


def test_only_decoders_have_a_low_priority() -> None:
    workers = deployment().ray_workers()

    assert [name for name, worker in workers.items() if not worker.options["background"]] == [
        "motet-encoder",
        "motet-llm",
    ]


def test_all_replicas_share_the_gpus_equally_and_none_gets_more_than_one() -> None:
    shares = {worker.num_gpus for worker in deployment(image=2).ray_workers(gpus=1).values()}
    whole = {worker.num_gpus for worker in deployment().ray_workers(gpus=64).values()}

    # Encoder, language model, four decoders, and one more replica.
    assert shares == {0.1428}
    assert whole == {1.0}


def test_ray_and_tls_exclude_each_other() -> None:
    refused = motet("up", "--toy", "--ray", "--tls", "--port", 0)

    assert refused.returncode == 2
    assert "remove --tls or --ray" in refused.stderr


def test_no_module_of_motet_imports_ray_before_it_is_used() -> None:
    modules = "services.orchestrator.pools, services.ray.worker, services.ray.deployment, services.ray.local_cluster"
    program = f"import sys, {modules}; sys.exit('ray' in sys.modules)"

    assert subprocess.run([sys.executable, "-P", "-c", program], check=False).returncode == 0


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_error_says_how_to_install_it() -> None:
    refused = motet("up", "--toy", "--ray", "--port", 0)

    assert refused.returncode == 2
    assert "pip install 'motet[ray]'" in refused.stderr
    orchestrator = ("serve", "orchestrator", "--toy", "--listen", "127.0.0.1:0", "--encoder", "ray:motet-encoder")
    assert "pip install 'motet[ray]'" in motet(*orchestrator).stderr
