"""The services of one deployment on this machine, and the arguments of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motet.core.bundle import Manifest
from motet.core.errors import SettingsError
from motet.toys.manifest import TOY
from services.factory import open_bundle
from services.settings import GRACE
from services.up.restarts import RestartPolicy

if TYPE_CHECKING:
    from services.up.certificates import DeploymentCertificates

ANY_PORT = "127.0.0.1:0"
ORCHESTRATOR = "orchestrator"
ENCODER = "encoder"
LANGUAGE_MODEL = "llm"
MAX_REPLICAS = 64
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Deployment:
    """The services of a bundle, or of toys, on this machine.

    `port` is the orchestrator's; 0 takes a free port. `metrics_port` is the port of the orchestrator's metrics, and the
    workers' metrics have the ports after it, in the order of `workers`; 0 takes free ports. `replicas` maps a modality,
    "encoder" or "llm" to its number of replicas. `grace` is each service's time to finish running calls, in seconds.
    With `background`, decoders run at low CPU priority: a user waits seconds for media, but reads text as it is
    written. With `certificates`, connections are encrypted, and workers accept only services of the deployment.
    """

    manifest: Manifest
    bundle: str
    port: int
    threads: int
    toy: bool
    toy_delay: float
    background: bool
    replicas: Mapping[str, int] = field(default_factory=dict)
    grace: float = GRACE
    log_level: str = "warning"
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    metrics_port: int = 0
    certificates: DeploymentCertificates | None = None

    def workers(self) -> Mapping[str, list[str]]:
        """Return the arguments of `motet serve` for each worker, by its name."""
        workers = [(name, arguments) for names, arguments, _ in self._kinds() for name in names]
        return {
            name: [*arguments, "--listen", ANY_PORT, *self._common(number), *self._worker_tls(name, arguments[0])]
            for number, (name, arguments) in enumerate(workers, 1)
        }

    def orchestrator(self, addresses: Mapping[str, str]) -> list[str]:
        """Return the arguments of `motet serve` for the orchestrator of workers at these addresses."""
        workers = [f"{option}{addresses[name]}" for names, _, option in self._kinds() for name in names]
        tls = options_of_settings(self.certificates.orchestrator_settings()) if self.certificates else []
        return [ORCHESTRATOR, "--listen", f"127.0.0.1:{self.port}", *workers, *self._common(0), *tls]

    def ports(self) -> list[int]:
        """Return all ports that the options name, of calls and of metrics."""
        count = 1 + len(self.workers()) if self.metrics_port else 0
        metrics = range(self.metrics_port, self.metrics_port + count)
        return [*([self.port] if self.port else []), *metrics]

    def can_serve(self, lost: set[str]) -> bool:
        """Return whether the deployment can answer any prompt without the lost services: with text, at least."""
        return ORCHESTRATOR not in lost and not lost.issuperset(self._language_models())

    def _kinds(self) -> Iterator[tuple[list[str], list[str], str]]:
        """Yield each kind of worker: the replicas' names, their arguments, and the orchestrator's option for them."""
        yield self._names("encoder", ENCODER), ["encoder"], "--encoder="
        yield self._language_models(), ["llm"], "--language-model="
        for modality in self.manifest.signals:
            names = self._names(f"{modality} decoder", modality)
            decoder = ["decoder", "--modality", modality, *["--background"] * self.background]
            yield names, decoder, f"--decoder={modality}="

    def _worker_tls(self, name: str, kind: str) -> list[str]:
        """Return the TLS options of a worker. Its role is its kind."""
        return options_of_settings(self.certificates.worker_settings(name, kind)) if self.certificates else []

    def _language_models(self) -> list[str]:
        return self._names("language model", LANGUAGE_MODEL)

    def _names(self, name: str, key: str) -> list[str]:
        return [name, *(f"{name} {number}" for number in range(2, self.replicas.get(key, 1) + 1))]

    def _common(self, number: int) -> Iterator[str]:
        """Yield the options of every service. `number` is its place in the order of the ports of metrics."""
        metrics_port = self.metrics_port + number if self.metrics_port else 0
        yield from ("--metrics", f"127.0.0.1:{metrics_port}", "--grace", str(self.grace))
        if self.toy:
            yield from ("--toy", "--toy-delay", str(self.toy_delay))
        else:
            yield from ("--bundle", self.bundle, "--threads", str(self.threads))


def deployment_of(
    bundle: str,
    port: int,
    threads: int,
    toy: bool,
    toy_delay: float,
    background: bool,
    replicas: Mapping[str, int] | None = None,
    grace: float = GRACE,
    metrics_port: int = 0,
) -> Deployment:
    """Return the deployment of a bundle, or of toys. The services themselves verify the weights.

    Raises `BundleError`, and `SettingsError` for replicas of an unknown worker, and for ports of metrics that do not
    exist or include `port`.
    """
    manifest = TOY if toy else open_bundle(bundle, ()).manifest
    replicas = replicas or {}
    workers = (ENCODER, LANGUAGE_MODEL, *manifest.signals)
    for worker, number in replicas.items():
        if worker not in workers or not 1 <= number <= MAX_REPLICAS:
            form = f"WORKER=NUMBER, 1 to {MAX_REPLICAS} of {', '.join(workers)}"
            raise SettingsError(f"--replicas takes {form}, not '{worker}={number}'")
    deployment = Deployment(
        manifest, bundle, port, threads, toy, toy_delay, background, replicas, grace, metrics_port=metrics_port
    )
    _check_ports(deployment)
    return deployment


def _check_ports(deployment: Deployment) -> None:
    ports = deployment.ports()
    last = max(ports, default=0)
    if last > MAX_PORT or len(set(ports)) < len(ports):
        wrong = f"{last} does not exist" if last > MAX_PORT else f"{deployment.port} is that of --port"
        raise SettingsError(
            f"--metrics-port takes the ports {deployment.metrics_port} to {last}, one for each service, but "
            f"{wrong}: choose another port, or 0 for free ports"
        )


def options_of_settings(settings: Mapping[str, str]) -> list[str]:
    """Return settings as options of `motet serve`."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
