"""The sockets on which processes listen are those that docs/security.md lists, and no others."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest

from services.decoder.settings import DecoderSettings
from services.embedded import embedded
from services.encoder.settings import EncoderSettings
from services.factory import Factory
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import ServiceSettings
from tests.services.command import interrupt, started, table_of

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
SETTINGS: dict[str, type[ServiceSettings]] = {
    "orchestrator": OrchestratorServiceSettings,
    "encoder": EncoderSettings,
    "llm": LanguageModelSettings,
    "decoder": DecoderSettings,
}
_LISTEN = "0A"
_ACCEPTS = 0x10000
"""The flag of a listening unix socket."""

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc of Linux lists the sockets")


def tree(process: int) -> set[int]:
    """Return a process and all its descendants."""
    found = {process}
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= tree(int(child))
    return found


def listeners(processes: set[int]) -> set[str]:
    """Return the addresses on which processes listen: TCP as HOST:PORT, others with their kind."""
    inodes = {inode for process in processes for inode in sockets_of(process)}
    return {address for address, inode in open_sockets() if inode in inodes}


def sockets_of(process: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # closed since the list was read
            continue
        if match := re.fullmatch(r"socket:\[(\d+)\]", target):
            yield match[1]


def open_sockets() -> Iterator[tuple[str, str]]:
    """Yield the address and the inode of each socket that accepts connections or datagrams."""
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if kind.startswith("udp"):
                yield f"{kind} {address_of(fields[1])}", fields[9]
            elif fields[3] == _LISTEN:
                yield address_of(fields[1]), fields[9]
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[3], 16) & _ACCEPTS:
            yield f"unix {fields[7] if len(fields) > 7 else ''}", fields[6]


def address_of(text: str) -> str:
    """Return HOST:PORT of an address as the kernel writes it: words of 32 bits in the machine's order of bytes."""
    host, port = text.split(":")
    words = [int(host[start : start + 8], 16) for start in range(0, len(host), 8)]
    address = ip_address(b"".join(word.to_bytes(4, "little") for word in words))
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return f"{address}:{int(port, 16)}"


def test_the_kernels_list_has_a_socket_of_each_kind_that_listens(tmp_path: Path) -> None:
    before = listeners({os.getpid()})
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "s"))
        unix.listen()

        ports = [f"127.0.0.1:{each.getsockname()[1]}" for each in (tcp, udp)]
        found = listeners({os.getpid()}) - before

    assert found == {ports[0], f"udp {ports[1]}", f"unix {tmp_path / 's'}"}


@pytest.mark.timeout(300)
def test_every_service_of_a_deployment_listens_on_its_two_addresses_only() -> None:
    # Without the setting, only root may list the sockets of a service.
    with started("up", "--toy", "--tls", "--port", "0", allow_debuggers="1") as up:
        table = table_of(up)
        processes = tree(up.pid)
        found = listeners(processes)
        interrupt(up)

    assert {"orchestrator", "encoder", "language model", "image decoder"} <= set(table)
    assert len(processes) > len(table)
    assert found == {address for row in table.values() for address in row}


def test_an_orchestrator_listens_for_keda_only_if_it_has_an_address_for_it() -> None:
    counts = []
    command = ("serve", "orchestrator", "--toy", "--listen", "127.0.0.1:0")
    for options in ((), ("--scaler-listen", "127.0.0.1:0")):
        with started(*command, *options, allow_debuggers="1") as service:
            assert service.stdout is not None
            assert service.stdout.readline()
            counts.append(len(listeners(tree(service.pid))))
            interrupt(service)

    assert counts == [2, 3]


async def test_motet_in_one_process_listens_on_nothing() -> None:
    before = listeners({os.getpid()})

    async with embedded(Factory.of_toys()) as motet:
        assert await motet.models()
        assert listeners({os.getpid()}) == before


def test_the_page_names_each_setting_that_allows_connections_without_encryption() -> None:
    settings = {name for kind in SETTINGS.values() for name in kind.model_fields if name.startswith("allow_insecure")}

    # The last one is about calls of the process to a collector, and opens no listener.
    assert settings == {"allow_insecure", "allow_insecure_metrics", "allow_insecure_tracing"}
    assert all(f"`--{name.replace('_', '-')}`" in PAGE for name in settings)


def test_the_page_lists_each_listener_with_its_default() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in PAGE.splitlines()
        if line.startswith("| `motet serve")
    ]
    listed = {(process, listener): default for process, listener, default, *_ in rows}
    (metrics,) = re.findall(r"^\| each of these \| HTTP, `--metrics` \| `(.+?)` \|", PAGE, re.MULTILINE)

    scaler = ("`motet serve orchestrator`", "gRPC, `--scaler-listen`")
    assert OrchestratorServiceSettings.model_fields["scaler_listen"].default is None
    assert listed == {scaler: "none"} | {
        (f"`motet serve {kind}`", "gRPC, `--listen`"): f"`{settings.model_fields['listen'].default}`"
        for kind, settings in SETTINGS.items()
    }
    assert {settings.model_fields["metrics"].default for settings in SETTINGS.values()} == {metrics}
