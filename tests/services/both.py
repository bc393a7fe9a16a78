"""One Motet, embedded and served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from motet.client import Client
from motet.core.errors import MotetError, Reason
from motet.core.service import Motet


@dataclass(frozen=True)
class Both:
    """An embedded Motet, and a client of a server of the same Motet."""

    embedded: Motet
    served: Client

    async def outcomes(self, call: Any) -> list[Reason | None]:
        """Return the reasons of a call's errors, embedded and served, or None without an error."""
        return [await self._outcome(call, motet) for motet in (self.embedded, self.served)]

    async def _outcome(self, call: Any, motet: Motet) -> Reason | None:
        try:
            await call(motet)
        except MotetError as error:
            return error.reason
        return None
