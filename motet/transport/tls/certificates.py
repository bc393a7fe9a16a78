"""Certificates, keys and authorities, read from PEM files and checked."""

from __future__ import annotations

import logging
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from motet.core.errors import SettingsError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PemPair:
    """The files of a certificate, followed by its intermediate certificates, and of its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one side of TLS connections. `authorities` signed the certificates that the other side may have.

    A listener needs a pair. If it has authorities, it requires a certificate of each client. A channel needs
    authorities. If it has a pair, it sends this certificate to servers that require one.
    """

    pair: PemPair | None
    authorities: Path | None

    def read(self) -> tuple[bytes, ...]:
        """Return the contents of the files: certificate, key, authorities. Raises `SettingsError`, naming the file."""
        pair = (self.pair.certificate, self.pair.key) if self.pair else (None, None)
        return tuple(_read(path) for path in (*pair, self.authorities))

    def parse(self, contents: Sequence[bytes]) -> Certificates:
        """Return the checked contents of the files.

        Raises `SettingsError`, which names the file, for contents that are not PEM, a key of another certificate, and
        certificates that are not valid now. Other authorities may be valid beside one that has expired.
        """
        certificate, key, authorities = contents
        now = datetime.now(UTC)
        chain = _parse_chain(self.pair, certificate, key, now) if self.pair else ()
        trusted = _parse_authorities(self.authorities, authorities, now) if self.authorities else ()
        return Certificates(
            certificate or None,
            key or None,
            authorities or None,
            min((_end(each) for each in chain), default=None),
            max((_end(each) for each in trusted), default=None),
        )

    def warn_about_permissions(self) -> None:
        """Log a warning if every user of this machine can read the key."""
        # The file may be replaced at this moment.
        with suppress(OSError):
            if self.pair and self.pair.key.stat().st_mode & stat.S_IROTH:
                log.warning("every user of this machine can read the key %s: remove that permission", self.pair.key)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The checked contents of `TlsFiles` in PEM, and the times at which they expire, as Unix time in seconds.

    The certificate expires with the first certificate of its chain. The authorities expire with the last of them.
    """

    chain: bytes | None
    key: bytes | None = field(repr=False)
    authorities: bytes | None
    chain_expiry: float | None
    authorities_expiry: float | None

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return the configuration of a gRPC listener."""
        assert self.chain is not None
        assert self.key is not None
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authorities)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a gRPC channel."""
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.chain)


def _read(path: Path | None) -> bytes:
    """Return the content of a file, or b"" for None."""
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; name a PEM file") from None


def _parse_chain(pair: PemPair, certificate: bytes, key: bytes, now: datetime) -> Sequence[x509.Certificate]:
    chain = _parse_certificates(pair.certificate, certificate)
    for each in chain:
        _check_valid(pair.certificate, each, now)
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise SettingsError(f"{pair.key} is encrypted: store the key without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{pair.key} is not a private key in PEM: name another file") from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{pair.key} is a key of a kind that gRPC does not use: make an RSA or an ECDSA key")
    if not _has_key(chain[0], private):
        raise SettingsError(f"{pair.key} is not the key of the first certificate in {pair.certificate}")
    return chain


def _has_key(certificate: x509.Certificate, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bool:
    try:
        return private.public_key() == certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _parse_authorities(path: Path, data: bytes, now: datetime) -> Sequence[x509.Certificate]:
    authorities = _parse_certificates(path, data)
    # A file may hold an old and a new authority while certificates are replaced.
    valid = [each for each in authorities if now <= each.not_valid_after_utc]
    if not valid:
        _check_valid(path, authorities[0], now)
    return valid


def _parse_certificates(path: Path, data: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise SettingsError(f"{path} has no certificate in PEM: name another file") from None


def _check_valid(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise SettingsError(f"the certificate in {path} expired at {end:%Y-%m-%d %H:%M} UTC: replace it")
    if now < begin:
        raise SettingsError(
            f"the certificate in {path} is not valid before {begin:%Y-%m-%d %H:%M} UTC: "
            "replace it, or correct this machine's clock"
        )


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()
