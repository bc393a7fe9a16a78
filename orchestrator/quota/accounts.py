"""The accounts of all tenants."""

from __future__ import annotations

from collections.abc import Callable

from motet.core.caller import Caller
from orchestrator.quota.account import Account
from orchestrator.quota.limits import DEFAULT_CLASS, UNLIMITED, QuotaClasses, QuotaLimits

_MAX_ACCOUNTS = 10_000
"""Number of accounts from which on those that are as good as new ones are forgotten."""


class Accounts:
    """The accounts by tenant. The class of a caller decides the limits of its tenant.

    `classes` returns the present limits by class, and the same object until they change. After a change, accounts keep
    what was used.
    """

    def __init__(self, classes: Callable[[], QuotaClasses]) -> None:
        self._classes = classes
        self._used = classes()
        """The limits that the accounts have."""
        self._accounts: dict[tuple[str, str], Account] = {}
        """By tenant and by the class that the credentials name."""

    def of(self, caller: Caller) -> Account:
        """Return the account of a caller's tenant and class.

        A class that the operator did not define, or removed, has the limits of the default class.
        """
        if (classes := self._classes()) is not self._used:
            self._change(classes)
        key = (caller.tenant, caller.quota_class)
        account = self._accounts.get(key)
        if account is None:
            self._forget_idle()
            account = self._accounts[key] = Account(*self._limits_of(caller.quota_class))
        return account

    def _limits_of(self, name: str) -> tuple[str, QuotaLimits]:
        """Return the class whose limits callers of a class have, and these limits."""
        used = name if name in self._used else DEFAULT_CLASS
        return used, self._used.get(used, UNLIMITED)

    def _change(self, classes: QuotaClasses) -> None:
        self._used = classes
        for (_, name), account in self._accounts.items():
            account.change_limits(*self._limits_of(name))

    def _forget_idle(self) -> None:
        if len(self._accounts) >= _MAX_ACCOUNTS:
            self._accounts = {key: account for key, account in self._accounts.items() if not account.idle}
