"""Values of the chart: misspelt and impossible ones are refused, with a message that names the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from helm_python import HelmError

from tests.deploy.chart import environment, files, of_kind

DIGEST = "0" * 64


def worker(**values: Any) -> dict[str, Any]:
    """Return values for the worker image."""
    return {"workers": {"image": values}}


def weights(source: str, **values: Any) -> dict[str, Any]:
    """Return values for a source of weights."""
    return {"weights": {"source": source, **values}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"default": {}}, "'default' not allowed"),
        ({"defaults": {"gpu": {"counts": 1}}}, "'counts' not allowed"),
        (worker(replica=1), "'replica' not allowed"),
        (worker(settings={"max_runing": 4}), "'max_runing' not allowed"),
        (worker(settings={"kv_tokens": 4}), "'kv_tokens' not allowed"),
        (worker(settings={"max_running": "many"}), "got string, want integer"),
        (worker(settings={"listen": "0.0.0.0:1"}), "'listen' not allowed"),
        (worker(replicas=-1), "minimum: got -1, want 0"),
        (worker(kind="encodr"), "kind"),
        ({"workers": {"Image": {"kind": "decoder"}}}, "does not match pattern"),
        ({"orchestrator": {"gpu": {"count": 1}}}, "'gpu' not allowed"),
        ({"orchestrator": {"settings": {"max_durration": 1}}}, "'max_durration' not allowed"),
        ({"tls": {"source": "cert-manager"}}, "/tls/source"),
        ({"workers": {"sketch": {"modality": "sketch"}}}, "missing property 'kind'"),
    ],
)
def test_the_schema_refuses_wrong_values_and_names_their_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError) as caught:
        files(values)

    assert message in str(caught.value)


def scaled(mode: str, **scaling: Any) -> dict[str, Any]:
    """Return values for a worker image whose number of pods follows the demand."""
    return {**worker(autoscaling={"mode": mode, **scaling}), "networkPolicy": {"scrapers": [{"podSelector": {}}]}}


IN_RAY = {"mode": "ray", "networkPolicy": {"apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (worker(autoscaling={"mode": "ray"}), "1.37", "workers.image.autoscaling.mode is ray, and mode is deployments"),
    ({**IN_RAY, "discovery": "kubernetes"}, "1.37", "discovery has no effect with the mode ray"),
    ({"mode": "ray", **worker(autoscaling={"mode": "ray"})}, "1.37", "keeps the autoscaler of Ray from the API server"),
    ({**IN_RAY, "ray": {"operator": []}}, "1.37", "add the pods of its operator to ray.operator"),
    (
        {**IN_RAY, **worker(autoscaling={"mode": "ray"}, ray={"targetOngoingRequests": 9})},
        "1.37",
        "workers.image.ray.targetOngoingRequests is above settings.max_running",
    ),
    ({"workers": {"test": {"kind": "encoder"}}}, "1.37", "choose another name"),
    ({"workers": {"sketch": {"kind": "decoder"}}}, "1.37", "set workers.sketch.modality"),
    ({"workers": {"llm": {"modality": "image"}}}, "1.37", "workers.llm.modality has no effect for the kind llm"),
    (worker(gpu={"count": 2}), "1.37", "raise workers.image.replicas"),
    (worker(gpu={"dra": {"enabled": True}}), "1.33", "needs Kubernetes 1.34 or newer"),
    (worker(gpu={"count": 1, "dra": {"enabled": True}}), "1.37", "requests a device twice"),
    (worker(gpu={"dra": {"enabled": True, "claimName": "a", "selectors": ["true"]}}), "1.37", "set them in that claim"),
    (worker(gpu={"migProfile": "1g.10gb"}), "1.37", "set workers.image.gpu.count to 1"),
    ({"workers": {"llm": None}}, "1.37", "add an entry to workers with kind: llm"),
    ({"workers": {"encoder": None}}, "1.37", "add an entry to workers with kind: encoder"),
    ({"tls": {"source": "existingSecret"}}, "1.37", "set workers.audio.tlsSecret to a secret"),
    (
        {"orchestrator": {"access": {"keys": {"existingSecret": "a", "records": "{}"}}}},
        "1.37",
        "both existingSecret and records",
    ),
    ({"tls": {"source": "none"}}, "1.37", "set tls.source to certManager or existingSecret, or set allowInsecure"),
    ({"orchestrator": {"access": {"clientCertificates": False}}}, "1.37", "the orchestrator would serve anyone"),
    (
        {"orchestrator": {"settings": {"jwt_issuer": "a", "jwt_audience": "b", "jwt_keys": "https://c.example/keys"}}},
        "1.37",
        "add the identity provider to networkPolicy.orchestratorEgress",
    ),
    ({"discovery": "kubernetes"}, "1.37", "set networkPolicy.apiServer to the addresses"),
    (weights("persistentVolumeClaim"), "1.37", "set weights.persistentVolumeClaim.claimName"),
    (weights("hydrated"), "1.37", "set weights.hydrated.digest"),
    (weights("hydrated", hydrated={"digest": DIGEST}), "1.37", "set weights.hydrated.fetch.image"),
    (weights("imageVolume", imageVolume={"reference": "a:latest"}), "1.37", "an image with its digest"),
    (
        weights("imageVolume", imageVolume={"reference": f"a@sha256:{DIGEST}"}),
        "1.32",
        "needs Kubernetes 1.33 or newer",
    ),
    ({"podMonitor": {"enabled": True}}, "1.37", "add its pods to networkPolicy.scrapers"),
    ({"tracing": {"endpoint": "https://a:4317"}}, "1.37", "set networkPolicy.collector to its pods"),
    ({"tracing": {"endpoint": "http://a:4317"}}, "1.37", "begin it with https://, or set tracing.allowInsecure"),
    ({"tracing": {"headersSecret": "a"}}, "1.37", "has no effect without tracing.endpoint"),
    ({"grpcRoute": {"enabled": True}}, "1.37", "set grpcRoute.parentRefs"),
    (
        {
            "tls": {"source": "existingSecret"},
            "defaults": {"tlsSecret": "a"},
            "orchestrator": {"tlsSecret": "a"},
        },
        "1.37",
        "set tests.tlsSecret",
    ),
    (
        {
            "defaults": {"autoscaling": {"mode": "keda"}},
            "workers": {"image-large": {"kind": "decoder", "modality": "image"}},
        },
        "1.37",
        "scale by the demand of one pool",
    ),
    (scaled("keda", minReplicas=5), "1.37", "minReplicas is above maxReplicas, 4: raise maxReplicas"),
    (scaled("hpa"), "1.37", "a HorizontalPodAutoscaler never scales to zero: set it to 1"),
    (
        {**scaled("keda"), "orchestrator": {"settings": {"wait_for_replicas": False}}},
        "1.37",
        "remove orchestrator.settings.wait_for_replicas",
    ),
    ({**scaled("keda"), "orchestrator": {"replicas": 2}}, "1.37", "set mode to prometheus, which sums"),
    (worker(autoscaling={"mode": "prometheus"}), "1.37", "mode prometheus needs the metrics"),
    (scaled("prometheus"), "1.37", "set scaling.prometheus.serverAddress"),
    (
        {
            **scaled("keda"),
            "tls": {"source": "existingSecret"},
            "defaults": {"tlsSecret": "a"},
            "orchestrator": {"tlsSecret": "a"},
            "tests": {"enabled": False},
        },
        "1.37",
        "set scaling.keda.tlsSecret",
    ),
    ({**scaled("keda"), "scaling": {"keda": {"peers": []}}}, "1.37", "operator to scaling.keda.peers"),
]


@pytest.mark.parametrize(("values", "version", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_impossible_values_are_refused_with_a_remedy(values: dict[str, Any], version: str, message: str) -> None:
    with pytest.raises(HelmError) as caught:
        files(values, version)

    assert message in str(caught.value)


def test_every_refusal_of_the_chart_is_tested() -> None:
    from tests.deploy.chart import CHART

    text = (CHART / "templates" / "_validate.tpl").read_text()

    assert text.count("fail (") + text.count('fail "') == len(REFUSED) - 1  # The absent kinds share one line.


def test_null_removes_a_default_worker() -> None:
    assert "video" not in of_kind("Deployment", {"workers": {"video": None}})


def test_a_new_modality_is_one_entry() -> None:
    values = {"workers": {"sketch": {"kind": "decoder", "modality": "sketch"}}}

    assert '"sketch":["dns:///demo-sketch.ml.svc:50050"]' in environment("orchestrator", values)["MOTET_DECODERS"]
    for kind in ("Deployment", "Service", "ServiceAccount", "NetworkPolicy", "Certificate"):
        assert "sketch" in of_kind(kind, values)


def test_values_of_a_worker_are_merged_over_the_defaults() -> None:
    values = {"defaults": {"replicas": 3, "gpu": {"count": 1}}, **worker(replicas=0, gpu={"resource": "amd.com/gpu"})}
    deployments = of_kind("Deployment", values)

    assert [deployments[name]["spec"]["replicas"] for name in ("audio", "image", "orchestrator")] == [3, 0, 1]
    limits = deployments["image"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["amd.com/gpu"] == 1


def test_the_number_zero_and_false_reach_the_service() -> None:
    values = worker(settings={"max_queued": 0, "reflection": False, "batch_tolerance": 0.5})

    assert {"MOTET_MAX_QUEUED": "0", "MOTET_REFLECTION": "false", "MOTET_BATCH_TOLERANCE": "0.5"}.items() <= (
        environment("image", values).items()
    )


def test_large_numbers_are_not_written_as_powers() -> None:
    values = {"orchestrator": {"settings": {"max_media_bytes": 33554432}}}

    assert environment("orchestrator", values)["MOTET_MAX_MEDIA_BYTES"] == "33554432"
