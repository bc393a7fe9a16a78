"""A real Prometheus scrapes a real deployment, and a real Alertmanager sends the alerts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

from motet.client import Client
from motet.core.clock import now
from motet.core.media import Media
from tests.deploy.chart import ROOT
from tests.monitoring.prometheus import panels, rules
from tests.monitoring.running import RunningPrometheus, running_prometheus
from tests.services.up.processes import process_of

AT_ONCE = {
    "NoReadyReplica": {"for": "0s"},
    "TargetDown": {"enabled": False},
    # Both would also be right, a while later.
    "OldestWait": {"enabled": False},
    "QueueStuck": {"enabled": False},
}
PROMPT = "What is in this picture? Then show me a penguin on a blue background, play a low note on a flute and make a \
clip of a car growing."
PICTURE = Media("image/png", (ROOT / "examples" / "turtle.png").read_bytes())
ABSENT = re.compile(
    r"kube_|_tls_|_access_|_gpu_(?!.* or .*_cpu_)|modality:motet_|> 0|refused|retries|wasted|hedges|reason!="
)
"""A deployment without Kubernetes, TLS, keys, GPUs, failures and a history has no series of these."""


async def until_series(prometheus: RunningPrometheus, expressions: list[str]) -> None:
    """Wait until each query returns a series. Raises `AssertionError` with those that do not after 200 s."""
    end = now() + 200
    while expressions := [each for each in expressions if not await prometheus.query(each)]:
        assert now() < end, "\n".join(expressions)
        await asyncio.sleep(0.2)


async def until_notified(prometheus: RunningPrometheus, alert: tuple[str, str]) -> None:
    """Wait until the webhook got an alert. Raises `TimeoutError` after 240 s."""
    async with asyncio.timeout(240):
        while alert not in prometheus.notifications.firing:
            await asyncio.sleep(0.1)


def runbook_queries() -> list[str]:
    """Return the queries of all pages about alerts."""
    pages = [path.read_text() for path in sorted((ROOT / "docs" / "runbooks").glob("*.md"))]
    return [query for page in pages for query in re.findall(r"```promql\n#.*\n(.*)\n```", page)]


def panel_queries() -> list[str]:
    """Return the queries of all dashboards, with all releases selected."""
    return [unselected(target["expr"]) for panel in panels() for target in panel["targets"]]


def unselected(query: str) -> str:
    """Return the query of a panel with all releases selected."""
    return re.sub(r"\$(namespace|release)", ".*", query).replace("$__rate_interval", "1m")


def selectors() -> set[str]:
    """Return each selector of a series in the rules, such as `motet_parts_total{job="motet"}`."""
    expressions = [rule["expr"] for group in rules()["groups"] for rule in group["rules"]]
    return {found for each in expressions for found in re.findall(r"\b[a-z_:]+[a-z0-9_:]*\{[^}]*\}", each)}


# The processes of nano start in 15 s on two free cores, and three times as slowly beside the suite.
@pytest.mark.timeout(900)
async def test_a_killed_decoder_and_a_frozen_one_fire_the_alert_of_their_modality_alone(tmp_path: Path) -> None:
    async with running_prometheus(tmp_path, AT_ONCE) as prometheus:
        async with Client(prometheus.ready["orchestrator"].address) as client:
            # The second one has its media from caches.
            for _ in range(2):
                answer = await client.answer(PROMPT, [PICTURE], seed=1)
                assert {part.modality for part in answer.media} == {"image", "audio", "video"}
        await until_series(prometheus, ['motet_parts_total{modality="video"} > 0'])

        for query in runbook_queries():
            await prometheus.query(query)
        for query in panel_queries():
            await prometheus.query(query)
        await until_series(prometheus, [query for query in panel_queries() if not ABSENT.search(query)])
        # A reason, or a state, that does not occur has no series.
        present = [re.sub(r',(reason|state|fault|cause)[!=~]+"[^"]*"', "", each) for each in selectors()]
        await until_series(prometheus, [each for each in present if not ABSENT.search(each)])
        assert not prometheus.notifications.firing

        os.kill(process_of(os.getpid(), "--modality", "image"), signal.SIGKILL)
        await until_notified(prometheus, ("NoReadyReplica", "image"))
        assert prometheus.notifications.firing == {("NoReadyReplica", "image")}

        frozen = process_of(os.getpid(), "--modality", "audio")
        os.kill(frozen, signal.SIGSTOP)
        try:
            await until_notified(prometheus, ("NoReadyReplica", "audio"))
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert prometheus.notifications.firing == {("NoReadyReplica", "image"), ("NoReadyReplica", "audio")}
