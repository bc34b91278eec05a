"""Serve reports: what was used, added up."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import clock, errors
from tenants.access.access import Access
from tenants.api.base import ManagementView, access_of, tenant_asked_for
from tenants.billing import sums
from tenants.billing.instants import month_of
from tenants.managed.values import instant
from tenants.models import Tenant
from tenants.reports import usage
from tenants.reports.usage import GROUPINGS, UsageQuestion


class TotalSerializer(serializers.Serializer[Any]):
    """One group of a usage report. What calls cost is left out for tenants."""

    group = serializers.CharField(help_text="A name, a tenant's id, or when the span begins.")
    units = serializers.DictField(child=serializers.IntegerField())

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        costs = ("cost_nano", "unfunded_nano")
        figures = {
            name: serializers.IntegerField(required=name not in costs) for name in sums.FIGURES
        }
        return {**super().get_fields(), **figures}


class UsageReportSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    group_by = serializers.ChoiceField(choices=GROUPINGS)
    data = TotalSerializer(many=True)  # type: ignore[assignment]  # the field, not the property
    has_more = serializers.BooleanField()


class UsageReportView(ManagementView):
    """Add up what was used in a span of time, in groups; this month by alias if nothing else is asked for."""

    operation = "usage_report"
    serializer_class = UsageReportSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {
        "tenant": {"type": "integer"},
        "start": {"type": "string", "format": "date-time"},
        "end": {"type": "string", "format": "date-time"},
        "group_by": {"type": "string", "enum": list(GROUPINGS)},
    }

    def get(self, request: Request) -> Response:
        given, who = request.query_params, access_of(request)
        if unknown := sorted(set(given) - self.asked.keys()):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        tenant = asked_tenant(who, given.get("tenant"))
        by = given.get("group_by", "alias")
        if by not in GROUPINGS:
            raise errors.InvalidFields({"group_by": [f"Use one of {', '.join(GROUPINGS)}."]})
        now = clock.now()
        end = asked_instant("end", given.get("end"), now)
        zone = "UTC" if tenant is None else tenant.time_zone
        start = asked_instant("start", given.get("start"), month_of(min(end, now), zone)[0])
        asked = UsageQuestion(None if tenant is None else tenant.pk, start, end, by)
        report = usage.usage(who, asked)
        return Response(
            {
                "start": start,
                "end": end,
                "group_by": by,
                "data": report.groups,
                "has_more": report.has_more,
            }
        )


def asked_tenant(who: Access, text: str | None) -> Tenant | None:
    """Return the tenant that is asked about; None for all. Raise Http404 for one the token has no part in."""
    if text is None:
        if who.sees_all_tenants:
            return None
        text = str(min(who.tenants))
    return tenant_asked_for(who, text)


def asked_instant(name: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        return instant(text.replace(" ", "+"))
    except ValidationError as error:
        raise errors.InvalidFields({name: error.messages}) from error
