"""Delete kept answers that have expired, and those that may not be given any more.

Nobody is given those any more already (table.py); here they stop to exist: answers that a revoked key or a
deleted tenant had asked for, and those of purged or deleted aliases. That needs looking only after the
configuration has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import QuerySet

from gateway_project.lib import clock
from responses_api.cache import table
from responses_api.models import CachedAnswer
from routing.cache_policy import generation_of
from routing.models import Alias
from tenants import revision
from tenants.models import ApiKey, Tenant


class _Looked:
    """The revision of the configuration after which this process has looked through all answers."""

    revision: int | None = None


def is_any_due() -> bool:
    """Tell whether there may be answers to delete."""
    if _expired().exists():
        return True
    return revision.current() != _Looked.revision and CachedAnswer.objects.exists()


def erase_cached_answers() -> Iterator[None]:
    """Delete them, a batch at a time. Safe to repeat, and to do twice at once."""
    at = revision.current()
    while _delete_some(_expired()):
        yield
    if at != _Looked.revision:
        for doomed in (_of_keys(_dead_keys()), *map(_of_alias, _old_generations())):
            while _delete_some(doomed):
                yield
        _Looked.revision = at


def _expired() -> QuerySet[CachedAnswer]:
    return CachedAnswer.objects.filter(expires_at__lte=clock.now()).order_by("expires_at")


def _dead_keys() -> list[int]:
    """Return the numbers of keys that asked for answers and are not in force any more."""
    asked = set(CachedAnswer.objects.order_by().values_list("key_id", flat=True).distinct())
    alive = ApiKey.objects.filter(revoked_at=None, tenant__status=Tenant.Status.ACTIVE)
    return sorted(asked - set(alive.filter(pk__in=asked).values_list("pk", flat=True)))


def _of_keys(keys: list[int]) -> QuerySet[CachedAnswer]:
    return CachedAnswer.objects.filter(key_id__in=keys).order_by()


def _old_generations() -> list[tuple[int, int]]:
    """Return the aliases and generations of which there are answers, and which have gone."""
    there = CachedAnswer.objects.order_by().values_list("alias_id", "generation").distinct()
    known = set(there)
    aliases = Alias.objects.filter(pk__in={alias for alias, _ in known})
    current = {
        (alias.pk, generation_of(alias)) for alias in aliases.select_related("platform_alias")
    }
    return sorted(known - current)


def _of_alias(old: tuple[int, int]) -> QuerySet[CachedAnswer]:
    alias, generation = old
    return CachedAnswer.objects.filter(alias_id=alias, generation=generation).order_by()


def _delete_some(rows: QuerySet[CachedAnswer]) -> int:
    return table.delete(list(rows.values_list("pk", flat=True)[: table.BATCH]))
