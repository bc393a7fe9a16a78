"""`motet cluster`: show and change releases of the chart on a Kubernetes cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.cluster.api import ClusterApi
from services.cli.cluster.connection import ClusterTarget
from services.cli.cluster.options import Context, Kubeconfig, Namespace, ReleaseName, run_on
from services.cli.commands import Command, Group
from services.cli.keys.durations import duration_of
from services.cli.typer_options import path_of
from services.exit_codes import Exit

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

_MAX_PODS = 10_000

Json = Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="Maximum time: 90s, 10m, 2h or never.")]


@app.command(cls=Command)
def status(
    namespace: Namespace = None,
    release: ReleaseName = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Show the components of a release, their pods, nodes, GPUs and load, and what to change if a pod is not ready.

    The load is in predicted seconds of work. The exit code is 3 if a component has fewer ready pods than desired.
    """

    async def show(api: ClusterApi) -> Exit:
        from services.cli.cluster.status import print_release_status

        return await print_release_status(api, release, as_json)

    raise run_on(ClusterTarget(namespace, context, kubeconfig), show, as_json)


@app.command(cls=Command)
def scale(
    component: Annotated[
        str, typer.Argument(metavar="COMPONENT", help="Name of a component, or a decoder's modality.")
    ],
    pods: Annotated[int, typer.Argument(metavar="N", min=0, max=_MAX_PODS, help="Number of pods.")],
    namespace: Namespace = None,
    release: ReleaseName = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the pods are ready, and show the progress.")] = False,
    timeout: Timeout = "10m",
    force: Annotated[
        bool, typer.Option("--force", help="Scale a component of an autoscaler, or the orchestrator to 0.")
    ] = False,
) -> None:
    """Set the number of pods of a component. A component of an autoscaler is refused."""
    seconds = _seconds_of(timeout)

    async def change(api: ClusterApi) -> Exit:
        from services.cli.cluster.scale import ScaleRequest
        from services.cli.cluster.scale import scale as set_pods

        await set_pods(api, release, ScaleRequest(component, pods, force), wait, seconds)
        return Exit.OK

    raise run_on(ClusterTarget(namespace, context, kubeconfig), change)


@app.command(cls=Command)
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")],
    namespace: Namespace = None,
    release: ReleaseName = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    timeout: Timeout = "30m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the pods that would be evicted.")] = False,
    uncordon: Annotated[
        bool, typer.Option("--uncordon", help="Let new pods start on the node again, and evict none.")
    ] = False,
) -> None:
    """Cordon a node and move the pods of a release away from it, one component after another.

    A pod ends when its running calls have ended. PodDisruptionBudgets are respected. Ctrl-C leaves the node cordoned.
    """
    seconds = _seconds_of(timeout)
    if uncordon and dry_run:
        raise typer.BadParameter("--dry-run has no effect with --uncordon: remove one of them")

    async def move(api: ClusterApi) -> Exit:
        from services.cli.cluster import drain as draining

        if uncordon:
            await draining.uncordon(api, node)
        else:
            await draining.drain(api, release, node, seconds, dry_run)
        return Exit.OK

    raise run_on(ClusterTarget(namespace, context, kubeconfig), move)


@app.command(cls=Command)
def doctor(
    values: Annotated[
        list[Path] | None,
        typer.Option(parser=path_of, metavar="FILE", help="File of the chart's values, as for helm. Repeatable."),
    ] = None,
    chart: Annotated[
        str, typer.Option(metavar="CHART", help="Chart to install: a folder, an archive or a reference, as for helm.")
    ] = "deploy/helm/motet",
    namespace: Namespace = None,
    release: Annotated[str, typer.Option(metavar="NAME", help="Name of the release to install.")] = "motet",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    as_json: Json = False,
) -> None:
    """Check a cluster before the chart is installed, and show what to change. Nothing is changed.

    Helm renders the chart with the values. Its objects are compared with the cluster: versions, APIs, rights, labels,
    taints and GPUs of the nodes, classes and storage. The exit code is 1 if a check fails.
    """

    files = tuple(values or ())

    async def check(api: ClusterApi) -> Exit:
        from services.cli.cluster.doctor.chart import ChartRequest
        from services.cli.cluster.doctor.run import print_findings

        return await print_findings(api, ChartRequest(chart, files, release), as_json)

    raise run_on(ClusterTarget(namespace, context, kubeconfig), check, as_json, files)


def _seconds_of(timeout: str) -> float | None:
    duration = duration_of(timeout)
    return duration.total_seconds() if duration else None
