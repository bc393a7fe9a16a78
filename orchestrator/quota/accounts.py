"""The accounts of all tenants."""

from __future__ import annotations

from motet.core.caller import Caller
from orchestrator.quota.account import Account
from orchestrator.quota.limits import DEFAULT_CLASS, UNLIMITED, QuotaClasses

_MAX_ACCOUNTS = 10_000
"""Number of accounts from which on those that are as good as new ones are forgotten."""


class Accounts:
    """The accounts by tenant. The class of a caller decides the limits of its tenant."""

    def __init__(self, classes: QuotaClasses) -> None:
        self._classes = classes
        self._accounts: dict[tuple[str, str], Account] = {}
        """By tenant and class."""

    def of(self, caller: Caller) -> Account:
        """Return the account of a caller's tenant. A class that the operator did not define is the default class."""
        name = caller.quota_class if caller.quota_class in self._classes else DEFAULT_CLASS
        key = (caller.tenant, name)
        account = self._accounts.get(key)
        if account is None:
            self._forget_idle()
            account = self._accounts[key] = Account(name, self._classes.get(name, UNLIMITED))
        return account

    def _forget_idle(self) -> None:
        if len(self._accounts) >= _MAX_ACCOUNTS:
            self._accounts = {key: account for key, account in self._accounts.items() if not account.idle}
