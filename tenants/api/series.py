"""Serve the reports that the console's pages show: the overview, and usage over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import clock, errors
from tenants.access.access import Access
from tenants.api.base import ManagementView, access_of
from tenants.api.reports import asked_instant, asked_tenant
from tenants.reports import overview, usage_series
from tenants.reports.figures import Latency, Used
from tenants.reports.freshness import freshness
from tenants.reports.usage_series import FILTERS, GROUPINGS, SeriesQuestion

DAY = timedelta(days=1)
MOST_GROUPS = 100
Json = dict[str, Any]
_SPAN: dict[str, dict[str, Any]] = {
    "tenant": {"type": "integer"},
    "start": {"type": "string", "format": "date-time"},
    "end": {"type": "string", "format": "date-time"},
}


class UsedSerializer(serializers.Serializer[Any]):
    """Render what was used: requests, calls, tokens, amounts. What calls cost is left out for tenants."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            field.name: serializers.IntegerField(required=field.name != "cost_nano")
            for field in fields(Used)
        }


class LatencySerializer(serializers.Serializer[Any]):
    """About how many milliseconds answered calls took; null where there were none."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {field.name: serializers.IntegerField(allow_null=True) for field in fields(Latency)}


class SeriesGroupSerializer(serializers.Serializer[Any]):
    group = serializers.CharField(help_text="A name, a key's id, or a tenant's.")
    name = serializers.CharField(help_text="What keys and tenants are called.")
    used = UsedSerializer()


class SeriesLineSerializer(serializers.Serializer[Any]):
    """A line of a chart, a bucket each in the order of `buckets`. The group of all others is null."""

    group = serializers.CharField(allow_null=True)
    used = UsedSerializer(many=True)


class UsageSeriesSerializer(serializers.Serializer[Any]):
    """Usage over time: `buckets` are the instants at which they begin, in `time_zone`."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    as_of = serializers.DateTimeField(help_text="The ledger has every call that was opened before.")
    time_zone = serializers.CharField()
    step = serializers.ChoiceField(choices=("hour", "quarter", "day", "month"))
    group_by = serializers.ChoiceField(choices=GROUPINGS)
    total = UsedSerializer()
    groups = SeriesGroupSerializer(many=True)
    has_more = serializers.BooleanField()
    rest = UsedSerializer(
        allow_null=True,
        help_text="By end user, over more than two days: what those used who were not among the "
        "1,000 of an hour or day that used most. Null if there are none.",
    )
    buckets = serializers.ListField(child=serializers.DateTimeField())
    series = SeriesLineSerializer(many=True)


class PaceSerializer(serializers.Serializer[Any]):
    used = UsedSerializer()
    latency = LatencySerializer()


class ProviderHourSerializer(PaceSerializer):
    name = serializers.CharField()


class AttentionSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    level = serializers.ChoiceField(choices=("bad", "warn"))
    text = serializers.CharField()
    object_id = serializers.CharField(help_text="Empty where it is about no one row.")


class OverviewSerializer(serializers.Serializer[Any]):
    """Render how things go: a span beside as long a span before it, the providers of the hour that runs and
    the one before, and what needs somebody."""

    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    as_of = serializers.DateTimeField(help_text="The ledger has every call that was opened before.")
    now = PaceSerializer()
    before = PaceSerializer()
    refused = serializers.IntegerField(help_text="Requests that came to no call; `now` has none.")
    refused_before = serializers.IntegerField()
    providers = ProviderHourSerializer(many=True)
    attention = AttentionSerializer(many=True)


class ReportView(ManagementView):
    """Read what both reports are asked: of a tenant or of all, and of a span."""

    asked: ClassVar[dict[str, dict[str, Any]]]

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> Json:
        """Return what is asked for by these parameters."""
        raise NotImplementedError

    def question(
        self, who: Access, given: Mapping[str, str], by: str, span: timedelta
    ) -> SeriesQuestion:
        """Return what is asked for, by default of the last `span`. Raise InvalidFields or Http404."""
        if unknown := sorted(set(given) - self.asked.keys()):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        tenant = asked_tenant(who, given.get("tenant"))
        end = asked_instant("end", given.get("end"), clock.now())
        start = asked_instant("start", given.get("start"), end - span)
        filters = {name: given[name] for name in FILTERS if name in given}
        if any("\0" in value for value in filters.values()):
            raise errors.InvalidFields({"": ["A filter has a character that no name has."]})
        zone = "UTC" if tenant is None else tenant.time_zone
        return SeriesQuestion(tenant.pk if tenant else None, start, end, by, zone, filters)


class UsageSeriesView(ReportView):
    """Show usage over time, in groups; of the last 30 days by alias if nothing else is asked for."""

    operation = "reports_usage"
    serializer_class = UsageSeriesSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {
        **_SPAN,
        "group_by": {"type": "string", "enum": list(GROUPINGS)},
        **{name: {"type": "string"} for name in FILTERS},
    }

    def told(self, who: Access, given: Mapping[str, str]) -> Json:
        by = given.get("group_by", "alias")
        if by not in GROUPINGS:
            raise errors.InvalidFields({"group_by": [f"Use one of {', '.join(GROUPINGS)}."]})
        asked = self.question(who, given, by, 30 * DAY)
        known = freshness(clock.now())
        found = usage_series.usage_series(who, asked, known)
        groups = [
            {"group": one.key, "name": one.label, "used": _used(one.used)}
            for one in found.groups[:MOST_GROUPS]
        ]
        return {
            "start": found.buckets.start,
            "end": found.buckets.end,
            "as_of": known.as_of,
            "time_zone": found.buckets.zone,
            "step": found.buckets.step,
            "group_by": by,
            "total": _used(found.total),
            "groups": groups,
            "has_more": len(found.groups) > MOST_GROUPS,
            "rest": None if found.rest is None else _used(found.rest),
            "buckets": list(found.buckets.edges[:-1]),
            "series": [
                {"group": group.key, "used": list(map(_used, line))} for group, line in found.series
            ],
        }


class OverviewView(ReportView):
    """Show how things go; in the last 24 hours if nothing else is asked for."""

    operation = "reports_overview"
    serializer_class = OverviewSerializer
    asked = _SPAN

    def told(self, who: Access, given: Mapping[str, str]) -> Json:
        asked = self.question(who, given, "alias", DAY)
        found = overview.overview(who, asked, clock.now())
        return {
            "start": found.by_alias.buckets.start,
            "end": found.by_alias.buckets.end,
            "as_of": found.freshness.as_of,
            "now": _pace(found.now),
            "before": _pace(found.before),
            "refused": sum(found.refused),
            "refused_before": found.refused_before,
            "providers": [{"name": one.name, **_pace(one)} for one in found.providers],
            "attention": [
                {
                    "kind": one.kind,
                    "level": one.level,
                    "text": one.text,
                    "object_id": one.object_id,
                }
                for one in found.attention
            ],
        }


def _used(used: Used) -> Json:
    """Return the figures, without what calls cost for whoever may not see it."""
    return {name: value for name, value in asdict(used).items() if value is not None}


def _pace(pace: overview.Pace | overview.ProviderHour) -> Json:
    return {"used": _used(pace.used), "latency": asdict(pace.latency)}
