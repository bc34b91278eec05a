"""Delete events of guardrails that have been kept long enough."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from gateway_project.lib import clock
from responses_api.models import GuardrailEvent

BATCH = 2_000


def purge_guardrail_events() -> Iterator[None]:
    """Delete those older than TOLLGATE_GUARDRAIL_EVENT_DAYS, the oldest first, each batch by itself."""
    before = clock.now() - timedelta(days=settings.GUARDRAIL_EVENT_DAYS)
    old = GuardrailEvent.objects.filter(at__lt=before).order_by("at").values_list("pk", flat=True)
    while found := list(old[:BATCH]):
        GuardrailEvent.objects.filter(pk__in=found).delete()
        yield
