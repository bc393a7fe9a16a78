"""Tests of the way to a cluster: kubeconfigs, credentials, and servers that are none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from motet.core.errors import AccessError, SettingsError
from services.cli.cluster.connection import ClusterTarget, connect
from tests.services.cli.cluster.cluster_double import deployments_path
from tests.services.cli.cluster.installed import Installed


async def test_without_a_kubeconfig_the_error_names_the_option(installed: Installed) -> None:
    with pytest.raises(SettingsError, match="there is no kubeconfig: set --kubeconfig or KUBECONFIG"):
        async with connect(ClusterTarget()):
            pass


async def test_the_variable_and_the_home_folder_name_a_kubeconfig(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(installed.kubeconfig.read_text())
    async with connect(ClusterTarget()) as api:
        assert (api.namespace, api.cluster) == ("motet", "the context double")
    monkeypatch.setenv("KUBECONFIG", f"missing:{installed.kubeconfig}")
    async with connect(ClusterTarget(namespace="mine", context="other")) as api:
        assert (api.namespace, api.cluster) == ("mine", "the context other")


async def test_a_pod_uses_its_own_account(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(installed.double.port))
    async with connect(ClusterTarget(namespace="motet"), installed.double.account) as api:
        assert len(await api.list(deployments_path())) == 8


@pytest.mark.parametrize(
    "text", ["", "[]", "- x", "{", "a: [", "clusters: 5", "contexts: [{}]", "\0", "current-context: x\ncontexts: []"]
)
async def test_a_wrong_kubeconfig_is_one_line(installed: Installed, text: str) -> None:
    installed.kubeconfig.write_text(text)

    result = await installed.run("status")

    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1), result.stderr
    assert "cannot be used" in result.stderr


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("clusters", "certificate-authority", "missing.crt"),
        ("clusters", "certificate-authority-data", "bm8gY2VydGlmaWNhdGU="),
        ("clusters", "server", "no url"),
        ("users", "client-certificate", "missing.crt"),
    ],
)
async def test_a_wrong_entry_of_a_kubeconfig_is_one_line(installed: Installed, part: str, key: str, value: str) -> None:
    content = yaml.safe_load(installed.kubeconfig.read_text())
    content[part][0][part.removesuffix("s")][key] = value
    installed.kubeconfig.write_text(yaml.safe_dump(content))

    result = await installed.run("status")

    assert (result.exit_code in (2, 4), len(result.stderr.splitlines())) == (True, 1), result.stderr


async def test_an_unknown_context_is_refused(installed: Installed) -> None:
    result = await installed.run("status", "--context", "wrong")

    assert (result.exit_code, "wrong" in result.stderr) == (2, True)


async def test_a_server_that_does_not_answer_can_be_tried_again(installed: Installed) -> None:
    await installed.double.stop()

    result = await installed.run("status")

    assert (result.exit_code, "the context double cannot be reached" in result.stderr) == (4, True)


async def test_an_expired_token_is_an_error_that_says_to_log_in(installed: Installed) -> None:
    installed.double.token = "new"

    result = await installed.run("status", "--json")

    assert result.exit_code == 2
    assert "log in again" in result.stderr
    assert json.loads(result.stdout)["reason"] == "CREDENTIALS_INVALID"


async def test_a_missing_permission_is_an_error_that_names_it(installed: Installed) -> None:
    installed.double.denied.add(("list", "apps", "deployments"))

    result = await installed.run("status")

    assert result.exit_code == 2
    assert 'deployments.apps is forbidden: User "tester" cannot list it' in result.stderr
    assert "docs/kubernetes.md" in result.stderr


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"items": 5}', '{"items": [{}]}', '{"items": [[]]}'])
async def test_a_malformed_answer_is_one_line(installed: Installed, text: str) -> None:
    installed.double.texts[deployments_path()] = text

    result = await installed.run("status")

    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1), result.stderr
    assert "API server" in result.stderr


async def test_an_error_of_the_server_is_one_line(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text="etcd\nis away")

    await installed.double.stop()
    installed.double._serve = broken  # type: ignore[method-assign]
    await installed.double.start()

    result = await installed.run("status")

    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "answered 500: etcd" in result.stderr


async def test_a_missing_library_is_named_with_its_extra(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes.aio.client", None)

    result = await installed.run("status")

    assert (result.exit_code, "pip install 'motet[kubernetes]'" in result.stderr) == (2, True)


async def test_requests_raise_the_errors_of_the_server(installed: Installed) -> None:
    async with connect(ClusterTarget(kubeconfig=installed.kubeconfig)) as api:
        assert await api.find("/api/v1/nodes/missing") is None
        installed.double.denied.add(("get", "", "nodes"))
        with pytest.raises(AccessError):
            await api.find("/api/v1/nodes/missing")
