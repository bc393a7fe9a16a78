"""All checks of `motet cluster doctor`, and their output."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from motet.answers.printable import printable_line
from motet.core.errors import AccessError
from services.cli.cluster.doctor.apis import check_apis, check_rights
from services.cli.cluster.doctor.chart import ChartRequest, PodGroup, RenderError, pod_groups, rendered
from services.cli.cluster.doctor.classes import check_named_objects, check_storage
from services.cli.cluster.doctor.devices import UsedDevices, devices_used_by_others
from services.cli.cluster.doctor.finding import Finding, Result, failed, passed, warned
from services.cli.cluster.doctor.namespace import check_namespace
from services.cli.cluster.doctor.nodes import check_nodes
from services.cli.cluster.table import table
from services.exit_codes import Exit

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json


async def print_findings(api: ClusterApi, request: ChartRequest, as_json: bool) -> Exit:
    """Check a cluster, and print all findings. Return `Exit.FAILED` if a check failed."""
    findings = [finding async for finding in _findings(api, request)]
    for line in map(json.dumps, map(asdict, findings)) if as_json else _lines(findings):
        print(line)
    return Exit.FAILED if any(each.result is Result.FAIL for each in findings) else Exit.OK


async def _findings(api: ClusterApi, request: ChartRequest) -> AsyncIterator[Finding]:
    version = str((await api.get("/version"))["gitVersion"])
    yield passed("cluster", f"{api.cluster} has Kubernetes {version}")
    try:
        objects = await rendered(request, api.namespace, version)
    except RenderError as error:
        yield failed("chart", str(error), "correct the values, or upgrade the cluster if the version is the cause")
        return
    yield passed("chart", f"Helm renders {len(objects)} objects for this version")
    findings, resources = await check_apis(api, objects)
    for finding in findings:
        yield finding
    groups = pod_groups(objects)
    checks = (
        _rights(api, objects, resources),
        _namespace(api, groups),
        _nodes(api, groups, request.release),
        check_named_objects(api, objects, groups),
        _storage(api, objects),
    )
    for check in checks:
        try:
            async for finding in check:
                yield finding
        except AccessError as error:
            yield warned("access", f"a part is not checked: {error.message}", "run again with more rights")


async def _rights(
    api: ClusterApi, objects: Sequence[Json], resources: dict[tuple[str, str], str]
) -> AsyncIterator[Finding]:
    for finding in await check_rights(api, objects, resources):
        yield finding


async def _namespace(api: ClusterApi, groups: Sequence[PodGroup]) -> AsyncIterator[Finding]:
    found = await api.find(f"/api/v1/namespaces/{api.namespace}")
    yield check_namespace(api.namespace, found, groups)


async def _nodes(api: ClusterApi, groups: Sequence[PodGroup], release: str) -> AsyncIterator[Finding]:
    nodes = await api.list("/api/v1/nodes")
    try:
        used = await devices_used_by_others(api, release)
    except AccessError as error:
        used = UsedDevices(())
        yield warned(
            "devices", f"those that other pods use count as free: {error.message}", "run again with more rights"
        )
    for finding in check_nodes(nodes, groups, used):
        yield finding


async def _storage(api: ClusterApi, objects: Sequence[Json]) -> AsyncIterator[Finding]:
    for finding in await check_storage(api, objects):
        yield finding


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield from table(("result", "check", "state"), [(each.result, each.check, each.message) for each in findings])
    remedies = [f"{each.check}: {each.remedy}" for each in findings if each.remedy]
    if remedies:
        yield ""
    yield from map(printable_line, dict.fromkeys(remedies))
