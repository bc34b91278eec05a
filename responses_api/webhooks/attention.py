"""Tell of webhook deliveries that were given up, among what needs somebody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count
from django.utils.formats import number_format
from django.utils.translation import ngettext

from responses_api.models import WebhookDelivery
from responses_api.validators import TEST_EVENT
from tenants.access.rights import Area
from tenants.reports.attention import MOST_OF_A_KIND, Attention, AttentionQuestion, register

GIVEN_UP_WITHIN = timedelta(days=7)


@register
def given_up_deliveries(asked: AttentionQuestion) -> Iterator[Attention]:
    """Tell of endpoints that did not take what was sent to them in the last week."""
    if not asked.may_somewhere(Area.WEBHOOKS):
        return
    rows = WebhookDelivery.objects.filter(
        state=WebhookDelivery.State.GIVEN_UP, created_at__gte=asked.now - GIVEN_UP_WITHIN
    ).exclude(event_type=TEST_EVENT)  # whoever sent it saw what became of it
    counted = asked.of_tenants(rows).order_by().values_list("endpoint__url")
    for url, count in counted.annotate(count=Count("pk")).order_by("-count")[:MOST_OF_A_KIND]:
        text = ngettext(
            "A delivery to %(url)s was given up in the last 7 days.",
            "%(count)s deliveries to %(url)s were given up in the last 7 days.",
            count,
        )
        told = text % {"url": url, "count": number_format(count, 0, force_grouping=True)}
        yield Attention("given_up_delivery", "warn", told, "deliveries")
