"""Delete refused requests that have been kept long enough; their counts by hour stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from gateway_project.lib import clock
from tenants.models import RefusedRequest

BATCH = 2_000


def purge_refusals() -> Iterator[None]:
    """Delete those older than TOLLGATE_REFUSAL_DAYS, the oldest first, each batch by itself."""
    before = clock.now() - timedelta(days=settings.REFUSAL_DAYS)
    old = RefusedRequest.objects.filter(at__lt=before).order_by("at").values_list("pk", flat=True)
    while found := list(old[:BATCH]):
        RefusedRequest.objects.filter(pk__in=found).delete()
        yield
