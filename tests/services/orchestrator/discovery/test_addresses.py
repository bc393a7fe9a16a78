"""Tests of the addresses of workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.orchestrator.discovery.addresses import endpoint_or_source
from services.orchestrator.discovery.dns import DnsSource
from services.orchestrator.discovery.endpoint import Endpoint
from services.orchestrator.discovery.kubernetes_service import KubernetesSource
from services.orchestrator.discovery.service_account import POD_ACCOUNT, ServiceAccount
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("address", ["decoder:50053", "10.0.0.1:1", "[::1]:1", "unix:/run/decoder"])
def test_an_address_without_a_scheme_is_one_endpoint(address: str) -> None:
    assert endpoint_or_source(address, 5, POD_ACCOUNT) == Endpoint(address)


@pytest.mark.parametrize("address", ["dns:///decoder.motet.svc:50053", "dns:decoder.motet.svc:50053"])
def test_a_dns_address_is_a_source(address: str) -> None:
    source = endpoint_or_source(address, 5, POD_ACCOUNT)

    assert isinstance(source, DnsSource)
    assert str(source) == "dns:///decoder.motet.svc:50053"


@pytest.mark.parametrize(
    "address", ["dns://10.0.0.10/decoder:50053", "dns:///decoder", "dns:///decoder:0", "dns:///decoder:70000"]
)
def test_a_dns_address_has_a_host_and_a_port_and_no_server(address: str) -> None:
    with pytest.raises(SettingsError, match=r"write dns:///HOST:PORT, without a DNS server"):
        endpoint_or_source(address, 5, POD_ACCOUNT)


@pytest.mark.parametrize("address", ["decoder", "http://decoder:1", "decoder:99999"])
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not an address"):
        endpoint_or_source(address, 5, POD_ACCOUNT)


def test_a_kubernetes_address_is_a_source_in_its_namespace_or_that_of_the_pod(cluster: KubernetesDouble) -> None:
    for address, namespace in (("kubernetes://other/decoder:grpc", "other"), ("kubernetes:///decoder:grpc", "motet")):
        source = endpoint_or_source(address, 5, cluster.account)
        assert isinstance(source, KubernetesSource)
        assert str(source) == f"kubernetes://{namespace}/decoder:grpc"
    assert str(endpoint_or_source("kubernetes://a/b:50053", 5, cluster.account)) == "kubernetes://a/b:50053"


@pytest.mark.parametrize(
    "address", ["kubernetes:decoder", "kubernetes://motet/decoder", "kubernetes://motet/Decoder:grpc", "kubernetes://"]
)
def test_a_kubernetes_address_names_a_service_and_a_port(cluster: KubernetesDouble, address: str) -> None:
    with pytest.raises(SettingsError, match=r"write kubernetes://NAMESPACE/SERVICE:PORT"):
        endpoint_or_source(address, 5, cluster.account)


def test_a_kubernetes_address_needs_a_pod_with_a_service_account(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="set its automountServiceAccountToken, or write dns:///HOST:PORT"):
        endpoint_or_source("kubernetes://motet/decoder:grpc", 5, ServiceAccount(tmp_path))


def test_the_library_of_kubernetes_is_needed_only_for_its_scheme(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from pathlib import Path\n"
        "from services.orchestrator.discovery.addresses import endpoint_or_source\n"
        "from services.orchestrator.discovery.service_account import ServiceAccount\n"
        "account = ServiceAccount(Path('/'))\n"
        "endpoint_or_source('dns:///a:1', 5, account)\n"
        "assert not {'aiohttp', 'kubernetes.aio'} & sys.modules.keys()\n"
        "endpoint_or_source('kubernetes://a/b:1', 5, account)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert "install motet[kubernetes], or write dns:///HOST:PORT" in done.stderr
