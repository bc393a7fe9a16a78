"""A deployment of nano with a Prometheus, an Alertmanager and a receiver of its notifications, all on free ports."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self
from urllib.parse import urlencode
from urllib.request import urlopen

from services.ready_line import ReadyLine
from services.up.deployment import deployment_of
from services.up.local_deployment import LocalDeployment
from tests.monitoring.prometheus import program, rules, write_yaml

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')


class Notifications:
    """A webhook that keeps the alerts that Alertmanager sends, by name and modality."""

    def __init__(self) -> None:
        self.firing: set[tuple[str, str]] = set()
        received = self.firing

        class Webhook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    if alert["status"] == "firing":
                        received.add((alert["labels"]["alertname"].removeprefix("Motet"), alert["labels"]["modality"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)

    @property
    def url(self) -> str:
        """The address of the webhook."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class RunningPrometheus:
    """A Prometheus that scrapes a deployment, and what its Alertmanager sent. `ready` has the services' addresses."""

    address: str
    ready: Mapping[str, ReadyLine]
    notifications: Notifications = field(repr=False)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query. Raises `HTTPError` for an invalid one."""
        return await self._get("query", query=expression)

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of a query from `start` to `end`, Unix times, every `step` seconds."""
        return await self._get("query_range", query=expression, start=start, end=end, step=step)

    async def _get(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        url = f"http://{self.address}/api/v1/{path}?{urlencode(parameters)}"
        answer = json.loads(await asyncio.to_thread(lambda: urlopen(url, timeout=60).read()))
        return list(answer["data"]["result"])


@asynccontextmanager
async def running_prometheus(folder: Path, changes: Mapping[str, Any]) -> AsyncIterator[RunningPrometheus]:
    """Start everything, and yield it. `changes` are those of the alerts' values. The deployment restarts no process."""
    deployment = LocalDeployment(deployment_of("nano", 0, 1, toy=False, toy_delay=0.0, background=False))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(deployment.drain, asyncio.Event())
        ready = await deployment.start()
        notifications = stack.enter_context(Notifications())
        alertmanager = await stack.enter_async_context(_alertmanager(folder, notifications.url))
        targets = {name: line.metrics for name, line in ready.items()}
        address = await stack.enter_async_context(_prometheus(folder, targets, alertmanager, changes))
        yield RunningPrometheus(address, ready, notifications)


def _prometheus(folder: Path, targets: Mapping[str, str], alertmanager: str, changes: Mapping[str, Any]) -> Any:
    write_yaml(folder / "rules.yaml", rules({"alerts": changes}))
    scrape = {"job_name": "motet", "static_configs": [{"targets": list(targets.values())}]}
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [scrape],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
    }
    path = write_yaml(folder / "prometheus.yaml", content)
    return _started("prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'series'}")


def _alertmanager(folder: Path, webhook: str) -> Any:
    receiver = {"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": False}]}
    # Without groups, each alert is sent at once.
    route = {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    path = write_yaml(folder / "alertmanager.yaml", {"route": route, "receivers": [receiver]})
    options = (f"--storage.path={folder / 'alerts'}", "--cluster.listen-address=")
    return _started("alertmanager", f"--config.file={path}", *options)


@asynccontextmanager
async def _started(name: str, *options: str) -> AsyncIterator[str]:
    """Start a program at a free port, and yield its address. Raises `RuntimeError` with its output if it ends."""
    process = await asyncio.create_subprocess_exec(
        program(name), *options, "--web.listen-address=127.0.0.1:0", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(240):
            while not lines or not (match := _LISTENING.search(lines[-1])):
                if not (line := await process.stderr.readline()):
                    raise RuntimeError(f"{name} ended:\n{''.join(lines)}")
                lines.append(line.decode())
        drained = asyncio.create_task(process.stderr.read())
        yield match[1]
        drained.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
