"""Fixtures of the tests of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.up.certificate_authority import CertificateAuthority


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    """An authority whose certificates the peers of a test trust."""
    return CertificateAuthority(tmp_path)


@pytest.fixture
def untrusted(tmp_path: Path) -> CertificateAuthority:
    """An authority that the peers of a test do not trust."""
    folder = tmp_path / "untrusted"
    folder.mkdir()
    return CertificateAuthority(folder)
