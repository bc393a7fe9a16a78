"""Containers of the chart's pods, which runc runs in a network of their own that has nothing but loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.deploy.chart import of_kind
from tests.deploy.images.image_store import run

SECCOMP = Path("/usr/share/containers/seccomp.json")
"""The default filter of system calls of Debian's container engines."""
UNITS = {"Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Network:
    """A network namespace with the loopback interface only. `hosts` has an address of it for each name of a service."""

    name: str
    hosts: Mapping[str, str]

    @contextmanager
    def up(self) -> Iterator[None]:
        """Make the namespace, and remove it on exit."""
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "-netns", self.name, "link", "set", "lo", "up")
            yield
        finally:
            run("ip", "netns", "delete", self.name)


@dataclass(frozen=True)
class Container:
    """A container of the chart, with the file system and the configuration of an image.

    `pod` is the specification of the pod. `variables` replace those of the chart. `folder` has its files. `volumes` has
    the folder of each volume that containers of a pod share; the others are file systems of the container. `beside` is
    a running container of the same pod.
    """

    name: str
    pod: Mapping[str, Any]
    root: Path
    image: Mapping[str, Any]
    network: Network
    folder: Path
    variables: Mapping[str, str]
    volumes: Mapping[str, Path] = field(default_factory=dict)
    beside: Container | None = None

    def write(self) -> None:
        """Write the configuration of the container."""
        lines = [f"{address} {host}\n" for host, address in self.network.hosts.items()]
        (self.folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))
        # Without this file, programs ask the name server of this machine, which a pod cannot reach, and wait for it.
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (self.folder / "config.json").write_text(json.dumps(self._config))

    def run(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run the container to its end, which must come within `timeout` seconds."""
        self.write()
        try:
            return subprocess.run(
                self._command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
            )
        finally:
            self._delete()

    @contextmanager
    def started(self, codes: Sequence[int] = (0,)) -> Iterator[subprocess.Popen[str]]:
        """Start the container. On exit, end it as a kubelet does, and fail if its exit code is another one."""
        self.write()
        log = self.folder / "stderr.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            yield process
            run("runc", "kill", self.name, "TERM")
            code = process.wait(60)
            assert code in codes, f"{self.name} ended with {code}: {log.read_text()[-2000:]}"
        finally:
            self._delete()
            process.communicate()

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the container, as a probe does."""
        return subprocess.run(["runc", "exec", self.name, *command], capture_output=True, text=True)

    def succeeds(self, script: str) -> bool:
        """Return True if a script of bash ends with 0 in the container."""
        return self.execute("bash", "-c", script).returncode == 0

    def status(self) -> dict[str, str]:
        """Return the lines of the status of the running process, by their names."""
        lines = (self._process / "status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def writable_files(self) -> set[str]:
        """Return the mount points that the running process may write to, except devices and its own processes."""
        mounts = (line.split() for line in (self._process / "mountinfo").read_text().splitlines())
        writable = {point for _, _, _, _, point, options, *_ in mounts if options.split(",")[0] == "rw"}
        return {point for point in writable if point != "/proc" and not point.startswith(("/proc/", "/dev"))}

    @property
    def _process(self) -> Path:
        return Path("/proc", str(json.loads(run("runc", "state", self.name))["pid"]))

    @property
    def _command(self) -> list[str]:
        return ["runc", "run", "--bundle", str(self.folder), self.name]

    def _delete(self) -> None:
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True)

    @cached_property
    def _spec(self) -> Mapping[str, Any]:
        (container,) = self.pod["containers"]
        return dict(container)

    @property
    def _config(self) -> dict[str, Any]:
        """The configuration of the Open Container Initiative for the pod's specification, as of a kubelet."""
        security = {**self.pod["securityContext"], **self._spec["securityContext"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["capabilities"] == {"drop": ["ALL"]}
        env = dict(each.split("=", 1) for each in self.image["Env"])
        env |= {each["name"]: each["value"] for each in self._spec.get("env", ())} | self.variables
        command = [*self._spec["command"], *self._spec.get("args", ())]
        processes = {"type": "pid"}
        if self.beside and self.pod.get("shareProcessNamespace"):
            processes["path"] = str(self.beside._process / "ns" / "pid")
        namespaces = [processes, *({"type": each} for each in ("ipc", "uts", "mount"))]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": security["readOnlyRootFilesystem"]},
            "process": {
                "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
                "args": command,
                "env": [f"{name}={value}" for name, value in env.items()],
                "cwd": self.image["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": not security["allowPrivilegeEscalation"],
            },
            "hostname": self.name,
            "mounts": [*_SYSTEM_MOUNTS, *self._mounts],
            "linux": {
                "namespaces": [*namespaces, {"type": "network", "path": f"/var/run/netns/{self.network.name}"}],
                "resources": {"memory": {"limit": size(self._spec["resources"]["limits"]["memory"])}},
                "seccomp": seccomp(json.loads(SECCOMP.read_text())),
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        }

    @property
    def _mounts(self) -> Iterator[dict[str, Any]]:
        """The mounts of volumes, and the names of services, which are DNS names in a cluster."""
        volumes = {each["name"]: each for each in self.pod["volumes"]}
        for mount in self._spec["volumeMounts"]:
            if "configMap" in (volume := volumes[mount["name"]]):
                source = str(self._written(volume["configMap"]["name"]))
                yield {"destination": mount["mountPath"], "type": "bind", "source": source, "options": ["bind", "ro"]}
                continue
            volume = volume["emptyDir"]
            if mount["name"] in self.volumes:
                source = str(self.volumes[mount["name"]])
                yield {"destination": mount["mountPath"], "type": "bind", "source": source, "options": _SHARED}
                continue
            options = ["nosuid", "nodev", "mode=1777", f"size={size(volume['sizeLimit'])}"]
            yield {"destination": mount["mountPath"], "type": "tmpfs", "source": "tmpfs", "options": options}
        for name in ("hosts", "resolv.conf"):
            source = str(self.folder / name)
            yield {"destination": f"/etc/{name}", "type": "bind", "source": source, "options": ["bind", "ro"]}

    def _written(self, name: str) -> Path:
        """Return a folder with the files of a ConfigMap, as the chart makes it by default."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for key, text in of_kind("ConfigMap")[name.removeprefix("demo-")]["data"].items():
            (folder / key).write_text(text)
        return folder


def size(text: str) -> int:
    """Return the number of bytes of a quantity of the chart."""
    return int(text[:-2]) * UNITS[text[-2:]]


def seccomp(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter of a container engine's profile for x86-64 and a process without capabilities."""

    def applies(rule: Mapping[str, Any]) -> bool:
        wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
        here = not wanted.get("caps") and "amd64" in (wanted.get("arches") or ["amd64"])
        return here and "amd64" not in (unwanted.get("arches") or ())

    keys: Sequence[str] = ("names", "action", "args", "errnoRet")
    rules = [
        {key: rule[key] for key in keys if rule.get(key) is not None} for rule in profile["syscalls"] if applies(rule)
    ]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


_SYSTEM_MOUNTS = (
    _mount("/proc", "proc"),
    _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
    _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
    _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
)
_SHARED = ["bind", "rw", "nosuid", "nodev"]
