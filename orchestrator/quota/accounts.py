"""The accounts of all tenants."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from motet.core.caller import Caller
from orchestrator.quota.account import Account
from orchestrator.quota.limits import DEFAULT_CLASS, UNLIMITED, QuotaClasses, QuotaLimits

MAX_ACCOUNTS = 10_000
"""Maximum number of accounts, besides those of tenants with running generations."""

_COMPARED = 16
"""Number of the least recently used accounts of which one is forgotten."""


class Accounts:
    """The accounts by tenant. The class of a caller decides the limits of its tenant.

    `classes` returns the present limits by class, and the same object until they change. After a change, accounts keep
    what was used.

    Beyond `MAX_ACCOUNTS`, one of the least recently used accounts without a running generation is forgotten, if
    possible one that is as good as a new one.
    """

    def __init__(self, classes: Callable[[], QuotaClasses]) -> None:
        self._classes = classes
        self._used = classes()
        """The limits that the accounts have."""
        self._accounts: OrderedDict[tuple[str, str], Account] = OrderedDict()
        """By tenant and by the class that the credentials name, the least recently used one first."""

    def of(self, caller: Caller) -> Account:
        """Return the account of a caller's tenant and class.

        A class that the operator did not define, or removed, has the limits of the default class.
        """
        if (classes := self._classes()) is not self._used:
            self._change(classes)
        key = (caller.tenant, caller.quota_class)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(*self._limits_of(caller.quota_class))
            self._forget_one()
        self._accounts.move_to_end(key)
        return account

    def _limits_of(self, name: str) -> tuple[str, QuotaLimits]:
        """Return the class whose limits callers of a class have, and these limits."""
        used = name if name in self._used else DEFAULT_CLASS
        return used, self._used.get(used, UNLIMITED)

    def _change(self, classes: QuotaClasses) -> None:
        self._used = classes
        for (_, name), account in self._accounts.items():
            account.change_limits(*self._limits_of(name))

    def _forget_one(self) -> None:
        """Forget one account, but not the newest one."""
        if len(self._accounts) <= MAX_ACCOUNTS:
            return
        oldest = list(islice(self._accounts.items(), min(_COMPARED, MAX_ACCOUNTS)))
        chosen = next((key for key, account in oldest if account.idle), None)
        chosen = chosen or next((key for key, account in oldest if not account.running), None)
        if chosen is not None:
            del self._accounts[chosen]
            return
        # The next look sees others. The number of accounts in use is at most that of running generations.
        for key, _ in oldest:
            self._accounts.move_to_end(key)
