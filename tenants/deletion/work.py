"""Erase what is stored of deleted tenants, a batch at a time: the periodic job.

Each batch is a short transaction of its own, which also counts what it erased and renews the runner's lease.
So a process that is killed leaves nothing half done, another goes on when the lease is over, and the database
decides who that is. All is looked through until nothing is found; a few sweeps later on find what calls that
were running may have written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.formats import number_format
from django.utils.translation import ngettext

from gateway_project.lib import clock, ids
from tenants.deletion import asking, people, plan, rows
from tenants.deletion.plan import Erased
from tenants.models import Tenant, TenantDeletion

logger = logging.getLogger("tollgate.deletion")

BATCH = 500
MOST_COUNTED = 100_000
HISTORY = "history"  # a count of what is no row of the tenant's
LEASE = timedelta(minutes=1)
AFTER_FAILURE = timedelta(minutes=1)
# After it was done: a batch of the ingester is long over after the first, every call after the second.
SWEEPS = (timedelta(hours=1), timedelta(days=1))


class LeaseLost(Exception):
    """Another process works on this deletion."""


def is_any_due() -> bool:
    return _due().exists()


def erase_tenants() -> Iterator[None]:
    """Work on every deletion that is due. One that fails does not hold up the others."""
    for pk in list(_due().order_by("next_sweep_at").values_list("pk", flat=True)):
        try:
            yield from Erasure(pk).run()
        except LeaseLost:
            logger.debug("another process works on deletion %s", pk)
        except Exception:
            logger.exception("a tenant could not be erased further; it goes on in a minute")
            TenantDeletion.objects.filter(pk=pk).update(
                lease_until=None, next_sweep_at=clock.now() + AFTER_FAILURE
            )


def _due() -> QuerySet[TenantDeletion]:
    return TenantDeletion.objects.filter(next_sweep_at__lte=clock.now())


class Erasure:
    """One sweep through everything a tenant has."""

    def __init__(self, pk: int, batch: int = BATCH) -> None:
        self._batch = batch
        self._runner = ids.base62(20)
        self._deletion = TenantDeletion.objects.select_related("tenant").get(pk=pk)

    def run(self) -> Iterator[None]:
        """Erase; each step is one transaction. Raise LeaseLost if another process is at it."""
        is_more = True
        while is_more:
            is_more = False
            for work in self._kinds():
                for _ in work:
                    is_more = True
                    yield
        self._finish()

    def _kinds(self) -> Iterator[Iterator[int]]:
        yield self._repeated(HISTORY, self._forget_history)
        for kind in plan.ERASED:
            yield self._repeated(kind.label, lambda kind=kind: self._erase(kind))
        digest = rows.Digesting(self._deletion, self._batch)
        yield self._repeated("tenants.UsageRow", digest.step)

    def _repeated(self, name: str, step: Any) -> Iterator[int]:
        """Repeat a step until it finds nothing; count what it did in the same transaction."""
        while True:
            with transaction.atomic():
                counts = self._locked_counts()
                count = step()
                if count:
                    counts[name] = counts.get(name, 0) + count
                    self._own().update(counts=counts)
            if not count:
                return
            yield count

    def _own(self) -> QuerySet[TenantDeletion]:
        return TenantDeletion.objects.filter(pk=self._deletion.pk)

    def _locked_counts(self) -> dict[str, int]:
        """Take or renew the lease, which locks the row; return what was counted so far."""
        now = clock.now()
        free = Q(runner=self._runner) | Q(lease_until=None) | Q(lease_until__lt=now)
        if not self._own().filter(free).update(runner=self._runner, lease_until=now + LEASE):
            raise LeaseLost
        counts: dict[str, int] = self._own().values_list("counts", flat=True).get()
        return counts

    def _forget_history(self) -> int:
        return rows.forget_history(self._deletion.tenant_id)

    def _erase(self, kind: Erased) -> int:
        chosen = rows.some(kind, self._deletion.tenant_id, self._batch)
        if kind.label == "tenants.Membership":
            return people.erase_members(chosen)
        return rows.erase(kind, chosen)

    def _finish(self) -> None:
        """Leave the tombstone, and say when to look again."""
        tenant_id, now = self._deletion.tenant_id, clock.now()
        with transaction.atomic():
            self._locked_counts()
            deletion = self._own().get()
            if deletion.sweeps == 0:
                _leave_tombstone(tenant_id, deletion.tombstone)
            deletion.finished_at = deletion.finished_at or now
            later = SWEEPS[deletion.sweeps] if deletion.sweeps < len(SWEEPS) else None
            deletion.next_sweep_at = None if later is None else deletion.finished_at + later
            deletion.state = TenantDeletion.State.DONE
            deletion.sweeps += 1
            deletion.runner, deletion.lease_until = "", None
            deletion.save()
        if deletion.sweeps == 1:
            logger.info("tenant %s is deleted: %s", tenant_id, deletion.counts)


def _leave_tombstone(tenant_id: int, slug: str) -> None:
    """Take name and slug from the tenant's row; another tenant may have been given the new slug meanwhile."""
    others = Tenant.objects.exclude(pk=tenant_id).filter(slug=slug)
    slug = asking.free_slug(tenant_id) if others.exists() else slug
    Tenant.objects.filter(pk=tenant_id).update(name=f"Deleted tenant {tenant_id}", slug=slug)


def remaining(tenant: Tenant) -> dict[str, int]:
    """Count what a deletion has still to erase, by model; no further than MOST_COUNTED."""
    found: dict[str, int] = {}
    for kind in plan.ERASED:
        rows = kind.model._default_manager.filter(**{kind.lookup: tenant.pk})
        count = rows.order_by()[:MOST_COUNTED].count()
        if count:
            found[kind.label] = count
    return found


def in_words(label: str, count: int) -> str:
    """Return a count with the name people know it by."""
    if label == HISTORY:
        text = ngettext(
            "%(count)s entry of the console's history",
            "%(count)s entries of the console's history",
            count,
        )
        return text % {"count": number_format(count, force_grouping=True)}
    names = apps.get_model(label)._meta
    shown = number_format(count, force_grouping=True)
    return f"{shown} {names.verbose_name if count == 1 else names.verbose_name_plural}"
