"""The TLS context of an HTTP server."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motet.transport.tls.certificates import Certificates
    from motet.transport.tls.reload import ReloadedCertificates


class HttpsContext:
    """The TLS context of new connections to an HTTP server. It has the certificates that are current then.

    If `mutual`, clients need a certificate of the listener's authorities.
    """

    def __init__(self, certificates: ReloadedCertificates, mutual: bool) -> None:
        self.mutual = mutual
        self._certificates = certificates
        self._used = certificates.current
        self._context = _context_of(self._used, mutual)

    def current(self) -> ssl.SSLContext:
        """Return the context of a new connection."""
        if self._certificates.current is not self._used:
            self._used = self._certificates.current
            self._context = _context_of(self._used, self.mutual)
        return self._context


def _context_of(certificates: Certificates, mutual: bool) -> ssl.SSLContext:
    assert certificates.chain is not None
    assert certificates.key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module reads certificates and keys from files only. This file is in memory, and no other process opens it.
    with open(os.memfd_create("certificate"), "wb") as file:
        file.write(certificates.chain + b"\n" + certificates.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    if mutual:
        assert certificates.authorities is not None
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session would not check the certificate again, which may have expired.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        context.load_verify_locations(cadata=certificates.authorities.decode())
    return context
