"""The audit log: a line for each administrative act."""

from __future__ import annotations

import logging

AUDIT = logging.getLogger("motet.audit")
"""The logger of administrative acts: calls of an operator's methods, and new keys, certificates and quotas in use."""
