"""Purge what is kept of an alias's answers: from the next generation on, none of before is given again.

The rows themselves are deleted by the job `erase_cached_answers` moments later.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.db import transaction

from routing.managed import ALIASES
from routing.models import Alias
from tenants.access.access import Access


@transaction.atomic
def purge(alias: Alias) -> Alias:
    """Raise the generation of an alias, and return the row as it is now. Links to it are purged with it."""
    row = Alias.objects.select_for_update().get(pk=alias.pk)
    row.cache_generation += 1
    row.save(update_fields=["cache_generation"])
    return row


def purge_by(who: Access, alias: Alias) -> Alias:
    """Do the same for somebody who may change the alias. Raise PermissionDenied."""
    if not ALIASES.may(who, "change", alias):
        raise PermissionDenied
    return purge(alias)
