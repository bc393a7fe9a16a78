"""Encrypted, and with both sides authenticated: certificates are made for the occasion."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from motet.client import Client
from motet.core.deadline import Deadline
from motet.core.errors import Reason, RetryableError, SettingsError
from motet.core.events import State
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.toys.workers import ToyDecoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from services.decoder.servicer import DecoderServicer
from services.orchestrator.servicer import GenerationServicer
from tests.stage import Stage, done, text_part
from tests.transport.serving import JOB

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make certificates")


@dataclass(frozen=True)
class Papers:
    """An authority's certificate, and the keys and certificates that it gave a server and a client."""

    authority: bytes
    server: tuple[bytes, bytes]
    client: tuple[bytes, bytes]

    def of_server(self, *, asking: bool = False) -> grpc.ServerCredentials:
        """What a server shows; `asking`, it wants to see a client's, too."""
        return grpc.ssl_server_credentials([self.server], self.authority if asking else None, asking)

    def of_client(self, *, showing: bool = False) -> grpc.ChannelCredentials:
        """What a client trusts, and what it shows."""
        return grpc.ssl_channel_credentials(self.authority, *(self.client if showing else (None, None)))


def made_in(folder: Path) -> Papers:
    """Papers, made in a folder."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def key(name: str) -> Sequence[str]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"

    openssl("req", "-x509", *key("authority"), "-subj", "/CN=authority", "-days", "2", "-out", "authority.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signer = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-extfile", "names", "-out", f"{name}.pem")

    def pair(name: str) -> tuple[bytes, bytes]:
        return (folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes()

    return Papers((folder / "authority.pem").read_bytes(), pair("server"), pair("client"))


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return made_in(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Papers of an authority that nobody here trusts."""
    return made_in(tmp_path_factory.mktemp("others"))


async def drained(address: str, credentials: grpc.ChannelCredentials | None) -> object:
    """The last that a decoder at an address says."""
    async with open_channel(address, credentials, health="") as channel:
        return [event async for event in RemoteDecoder(channel).decode(JOB, Deadline.after(10))][-1]


def serving(papers: Papers, *, asking: bool = False) -> Server:
    return Server([DecoderServicer(ToyDecoder())], credentials=papers.of_server(asking=asking))


async def test_a_call_goes_through_an_encrypted_connection(papers: Papers) -> None:
    async with serving(papers) as server:
        assert isinstance(await drained(server.address, papers.of_client()), Media)


async def test_a_client_that_shows_who_it_is_is_served_where_that_is_asked_for(papers: Papers) -> None:
    async with serving(papers, asking=True) as server:
        assert isinstance(await drained(server.address, papers.of_client(showing=True)), Media)


@pytest.mark.parametrize("who", ["plain text", "shows nothing", "strangers' certificate"])
async def test_nobody_is_served_who_does_not_show_who_it_is(papers: Papers, others: Papers, who: str) -> None:
    stranger = grpc.ssl_channel_credentials(papers.authority, *others.client)
    credentials = {"plain text": None, "shows nothing": papers.of_client()}.get(who, stranger)
    async with serving(papers, asking=True) as server:
        with pytest.raises(RetryableError) as caught:
            await drained(server.address, credentials)

    assert caught.value.reason is Reason.WORKER_UNAVAILABLE


async def test_a_server_that_nobody_trusts_is_not_spoken_to(papers: Papers, others: Papers) -> None:
    async with serving(others) as server:
        with pytest.raises(RetryableError) as caught:
            await drained(server.address, papers.of_client())

    assert caught.value.reason is Reason.WORKER_UNAVAILABLE


async def test_the_public_client_speaks_to_an_authenticating_server(papers: Papers) -> None:
    stage = Stage(*text_part(0, "hello"), done())
    request = GenerationRequest((Message("user", ("hi",)),))
    async with (
        Server([GenerationServicer(stage)], credentials=papers.of_server(asking=True)) as server,
        Client(server.address, credentials=papers.of_client(showing=True)) as client,
    ):
        answer = await client.answer(request)

    assert (answer.text, answer.generation.state) == ("hello", State.SUCCEEDED)


async def test_with_credentials_a_server_may_be_reached_from_the_network(papers: Papers) -> None:
    with pytest.raises(SettingsError):
        await Server([], address="0.0.0.0:0").start()
    async with Server([], address="0.0.0.0:0", credentials=papers.of_server()) as server:
        assert not server.address.endswith(":0")
