"""A network of pods, each of which has an address of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.deploy.images.container import Network
from tests.deploy.images.image_store import run

_PREFIX = "10.91.0"


@dataclass(frozen=True)
class PodNetwork:
    """Network namespaces of pods, which one bridge connects with each other and with nothing else.

    `services` has the pod of each host name. All pods resolve these names.
    """

    name: str
    pods: Sequence[str]
    services: Mapping[str, str]

    def of(self, pod: str) -> Network:
        """Return the network of a pod."""
        return Network(self._namespace(pod), {host: self.address(name) for host, name in self.services.items()})

    def address(self, pod: str) -> str:
        """Return the address of a pod."""
        return f"{_PREFIX}.{self.pods.index(pod) + 2}"

    @contextmanager
    def up(self) -> Iterator[None]:
        """Make the namespaces and the bridge, and remove them on exit."""
        made: list[str] = []
        try:
            for namespace in (self.name, *map(self._namespace, self.pods)):
                run("ip", "netns", "add", namespace)
                made.append(namespace)
                run("ip", "-netns", namespace, "link", "set", "lo", "up")
            run("ip", "-netns", self.name, "link", "add", "bridge", "type", "bridge")
            run("ip", "-netns", self.name, "link", "set", "bridge", "up")
            for number, pod in enumerate(self.pods):
                self._connect(pod, f"pod{number}")
            yield
        finally:
            for namespace in made:
                run("ip", "netns", "delete", namespace)

    def _connect(self, pod: str, link: str) -> None:
        namespace = self._namespace(pod)
        run("ip", "-netns", self.name, "link", "add", link, "type", "veth", "peer", "eth0", "netns", namespace)
        run("ip", "-netns", self.name, "link", "set", link, "master", "bridge", "up")
        run("ip", "-netns", namespace, "address", "add", f"{self.address(pod)}/24", "dev", "eth0")
        run("ip", "-netns", namespace, "link", "set", "eth0", "up")
        # By the route to other networks, a process finds the address of its pod.
        run("ip", "-netns", namespace, "route", "add", "default", "dev", "eth0")

    def _namespace(self, pod: str) -> str:
        return f"{self.name}-{pod}"
