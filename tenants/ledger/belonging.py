"""Check that what a call names is its tenant's own: no foreign key of the ledger does.

A wall in the database would cost every row, and would fail a whole batch for one record. Here the record is
set aside, and its neighbours are booked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import IntegrityError
from django.db.models import Model

from tenants.ledger import statements
from tenants.ledger.open_calls import Booked
from tenants.models import ApiKey, Budget


def check(calls: Sequence[Booked]) -> None:
    """Raise IntegrityError if a call names a key or a budget of another tenant. What is gone is nobody's."""
    opened = [call.opened for call in calls]
    check_keys({(one.key_id, one.tenant_id) for one in opened})
    limited = [one for one in opened if one.budgets or one.list_budgets]
    shares = ((one, share) for one in limited for share in (*one.budgets, *one.list_budgets))
    _check("budget", Budget, {(share.budget_id, one.tenant_id) for one, share in shares})


def check_keys(named: set[tuple[int, int]]) -> None:
    """Raise IntegrityError if a key is named beside a tenant that is not its own."""
    _check("key", ApiKey, named)


def own(calls: Iterable[Booked]) -> list[Booked]:
    """Return the calls that name nothing of another tenant."""
    every = list(calls)
    return every if _are_own(every) else [call for call in every if _are_own([call])]


def _are_own(calls: list[Booked]) -> bool:
    try:
        check(calls)
    except IntegrityError:
        return False
    return True


def _check(what: str, model: type[Model], named: set[tuple[int, int]]) -> None:
    owners = dict(statements.select(model, ("id", "tenant_id"), "id", {pk for pk, _ in named}))
    for pk, tenant in named:
        if owners.get(pk, tenant) != tenant:
            raise IntegrityError(f"The {what} {pk} is not of tenant {tenant}.")
