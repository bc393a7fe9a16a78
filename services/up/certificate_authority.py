"""A certificate authority for one machine: `motet up --tls`, tests and benchmarks use it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from motet.transport.tls.certificates import PemPair

_CLOCK_SKEW = timedelta(minutes=5)
"""Time before its creation from which a certificate is valid, because the clocks of machines differ."""

_LIFETIME = timedelta(days=365)


class CertificateAuthority:
    """An authority whose key exists only in this process. Its certificate is `ca.pem` in `folder`.

    It issues certificates for servers and for clients.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Motet on this machine")
        self.certificate = folder / "ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._name, self._key.public_key(), _now() - _CLOCK_SKEW, _now() + _LIFETIME)
        signed = (
            builder.add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(self.certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)

    def issue(
        self,
        name: str,
        role: str | None = None,
        *,
        uris: Sequence[str] = (),
        hosts: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
        begins: timedelta = -_CLOCK_SKEW,
        ends: timedelta = _LIFETIME,
    ) -> PemPair:
        """Write NAME.pem and NAME.key, and return their paths. Existing files are replaced, the certificate first.

        With a role, the certificate has the SPIFFE id spiffe://motet.local/motet/ROLE. `hosts` are DNS
        names and IP addresses, by default those of this machine. `begins` and `ends` are the bounds of its validity,
        from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            *map(_host, hosts),
            *(x509.UniformResourceIdentifier(uri) for uri in uris),
        ]
        if role is not None:
            names.append(x509.UniformResourceIdentifier(f"spiffe://motet.local/motet/{role}"))
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        signed = (
            _builder(_name(name), self._name, key.public_key(), _now() + begins, _now() + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(usages, critical=False)
            # It tells two authorities of one name apart, while both are trusted.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pair = PemPair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        _write(pair.certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(pair.key, private, 0o600)
        return pair


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _now() -> datetime:
    return datetime.now(UTC)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file at once: a reader finds the old file or the new one."""
    new = path.with_name(f"{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    new.replace(path)
