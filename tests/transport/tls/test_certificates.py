"""Tests of the checks of certificates, keys and authorities in files."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from motet.core.errors import SettingsError
from motet.transport.tls.certificates import Certificates, PemPair, TlsFiles
from services.up.certificate_authority import CertificateAuthority


def load(files: TlsFiles) -> Certificates:
    return files.parse(files.read())


def test_a_matching_pair_and_an_authority_are_loaded_with_the_times_at_which_they_expire(
    authority: CertificateAuthority,
) -> None:
    pair = authority.issue("server", ends=timedelta(days=3))

    certificates = load(TlsFiles(pair, authority.certificate))

    assert certificates.chain == pair.certificate.read_bytes()
    assert certificates.authorities == authority.certificate.read_bytes()
    assert certificates.chain_expiry is not None
    assert certificates.authorities_expiry is not None
    assert certificates.authorities_expiry - certificates.chain_expiry == pytest.approx(362 * 86_400, abs=60)


def test_a_representation_of_certificates_has_no_key(authority: CertificateAuthority) -> None:
    assert "PRIVATE KEY" not in repr(load(TlsFiles(authority.issue("server"), None)))


def test_a_missing_file_is_refused_with_its_name(authority: CertificateAuthority, tmp_path: Path) -> None:
    pair = PemPair(authority.issue("server").certificate, tmp_path / "missing.key")

    with pytest.raises(SettingsError, match="missing.key cannot be read: No such file or directory"):
        load(TlsFiles(pair, None))


def test_contents_that_are_not_pem_are_refused_with_the_name_of_the_file(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    pair = authority.issue("server")
    other = tmp_path / "other"
    other.write_bytes(b"\x00binary")

    with pytest.raises(SettingsError, match="other has no certificate in PEM"):
        load(TlsFiles(PemPair(other, pair.key), None))
    with pytest.raises(SettingsError, match="other is not a private key in PEM"):
        load(TlsFiles(PemPair(pair.certificate, other), None))
    with pytest.raises(SettingsError, match="other has no certificate in PEM"):
        load(TlsFiles(pair, other))


def test_the_key_of_another_certificate_is_refused(authority: CertificateAuthority) -> None:
    server, other = authority.issue("server"), authority.issue("other")

    with pytest.raises(SettingsError, match="other.key is not the key of the first certificate in .*server.pem"):
        load(TlsFiles(PemPair(server.certificate, other.key), None))


def test_an_encrypted_key_is_refused(authority: CertificateAuthority) -> None:
    pair = authority.issue("server")
    encrypted = load_pem_private_key(pair.key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    pair.key.write_bytes(encrypted)

    with pytest.raises(SettingsError, match="server.key is encrypted: store the key without a passphrase"):
        load(TlsFiles(pair, None))


def test_a_key_of_a_kind_that_grpc_does_not_use_is_refused(authority: CertificateAuthority) -> None:
    pair = authority.issue("server")
    pair.key.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    with pytest.raises(SettingsError, match="make an RSA or an ECDSA key"):
        load(TlsFiles(pair, None))


def test_an_expired_certificate_is_refused(authority: CertificateAuthority) -> None:
    pair = authority.issue("server", begins=timedelta(days=-2), ends=timedelta(days=-1))

    with pytest.raises(SettingsError, match=r"the certificate in .*server.pem expired at 20.* UTC: replace it"):
        load(TlsFiles(pair, None))


def test_a_certificate_that_is_not_valid_yet_is_refused(authority: CertificateAuthority) -> None:
    pair = authority.issue("server", begins=timedelta(days=1), ends=timedelta(days=2))

    with pytest.raises(SettingsError, match="is not valid before"):
        load(TlsFiles(pair, None))


def test_authorities_are_refused_only_if_all_have_expired(authority: CertificateAuthority, tmp_path: Path) -> None:
    expired = authority.issue("old", begins=timedelta(days=-2), ends=timedelta(days=-1)).certificate
    both = tmp_path / "both.pem"
    both.write_bytes(expired.read_bytes() + authority.certificate.read_bytes())

    with pytest.raises(SettingsError, match="expired at"):
        load(TlsFiles(None, expired))
    assert load(TlsFiles(None, both)).authorities == both.read_bytes()


def test_a_key_that_every_user_can_read_is_used_with_a_warning(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.issue("server")
    files = TlsFiles(pair, None)

    with caplog.at_level(logging.WARNING):
        files.warn_about_permissions()
        assert caplog.messages == []
        pair.key.chmod(0o644)
        files.warn_about_permissions()

    assert caplog.messages == [f"every user of this machine can read the key {pair.key}: remove that permission"]


def test_a_key_of_the_authority_is_readable_by_its_owner_only(authority: CertificateAuthority) -> None:
    assert authority.issue("server").key.stat().st_mode & 0o777 == 0o600
