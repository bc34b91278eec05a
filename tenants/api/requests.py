"""Serve the log of requests: answered, failed and refused ones, and one of them in whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import clock, errors
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of
from tenants.managed.values import could_be_key, instant
from tenants.models import Tenant
from tenants.reports import requests
from tenants.reports.request_detail import find_request
from tenants.reports.request_filter import (
    ATTEMPTS,
    CACHE_OUTCOMES,
    GUARDRAIL_OUTCOMES,
    SOURCES,
    STATUSES,
    RequestFilter,
)
from tenants.reports.requests import LogPlace

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_SPAN = timedelta(days=400)
MAX_TEXT = 300
CHOICES = {
    "status": STATUSES,
    "source": SOURCES,
    "guardrail": GUARDRAIL_OUTCOMES,
    "cache": CACHE_OUTCOMES,
    "attempts": ATTEMPTS,
}
TEXTS = ("key", "alias", "model", "provider", "code", "end_user")


class _Shown(serializers.Serializer[Any]):
    """Fields that are read."""


class LoggedRequestSerializer(_Shown):
    """One request. Names of upstreams are null where nothing answered or they may not be seen; what it cost
    the operator is null for tenants."""

    id = serializers.CharField(help_text="The id of the request, req_….")
    at = serializers.DateTimeField()
    tenant = serializers.IntegerField(source="tenant_id", allow_null=True)
    key = serializers.CharField(source="key_public_id", help_text="The key's public id.")
    status = serializers.ChoiceField(choices=STATUSES)
    route = serializers.CharField()
    alias = serializers.CharField(help_text="The alias, or what a refused request asked for.")
    requested_model = serializers.CharField()
    provider = serializers.SerializerMethodField(allow_null=True)
    upstream_model = serializers.SerializerMethodField(allow_null=True)
    http_status = serializers.IntegerField()
    code = serializers.CharField()
    message = serializers.CharField(help_text="The sentence the client of a refused request got.")
    streamed = serializers.BooleanField()
    websocket = serializers.BooleanField()
    background = serializers.BooleanField()
    attempts = serializers.IntegerField()
    ttft_ms = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    input_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    reasoning_tokens = serializers.IntegerField()
    charge_nano = serializers.IntegerField()
    cost_nano = serializers.IntegerField(allow_null=True)
    is_priced = serializers.BooleanField()
    is_estimated = serializers.BooleanField()
    is_corrected = serializers.BooleanField()
    guardrail = serializers.ChoiceField(
        choices=GUARDRAIL_OUTCOMES,
        allow_blank=True,
        help_text="The strongest thing that guardrails did; blank where none looked at it.",
    )
    cache_outcome = serializers.CharField(help_text="docs/cache.md; blank if it was not asked.")
    saved_nano = serializers.IntegerField(
        help_text="What an answer from the cache would have been charged beyond its charge."
    )

    def get_provider(self, row: Any) -> str | None:
        return row.provider or None

    def get_upstream_model(self, row: Any) -> str | None:
        return row.upstream_model or None


class RequestLogSerializer(_Shown):
    data = LoggedRequestSerializer(many=True)  # type: ignore[assignment]  # the field, not the property
    next_cursor = serializers.CharField(
        allow_null=True, help_text="Null after the last. A page may be short of rows before it."
    )


class ChargeLineSerializer(_Shown):
    unit = serializers.CharField()
    quantity = serializers.IntegerField()
    pico = serializers.IntegerField(
        allow_null=True, help_text="Pico-dollars for one; null without a price."
    )
    charge_nano = serializers.IntegerField()


class AttemptSerializer(_Shown):
    number = serializers.IntegerField()
    usage_row = serializers.UUIDField(source="row_id", help_text="Its row in usage/calls.")
    provider = serializers.SerializerMethodField(allow_null=True)
    upstream_model = serializers.SerializerMethodField(allow_null=True)
    route = serializers.CharField()
    status = serializers.CharField()
    absorbed = serializers.BooleanField()
    http_status = serializers.IntegerField()
    code = serializers.CharField()
    opened_at = serializers.DateTimeField()
    offset_ms = serializers.IntegerField()
    ttft_ms = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField()
    overhead_us = serializers.IntegerField()
    service_tier = serializers.CharField()
    usage_source = serializers.CharField()
    usage_anomaly = serializers.BooleanField()
    lines = ChargeLineSerializer(many=True)
    charge_version = serializers.IntegerField(allow_null=True)
    charge_nano = serializers.IntegerField()
    rated_nano = serializers.IntegerField(allow_null=True)
    held_nano = serializers.IntegerField(allow_null=True)
    unfunded_nano = serializers.IntegerField(allow_null=True)
    cost_nano = serializers.IntegerField(allow_null=True)
    end_user = serializers.CharField()
    tags = serializers.DictField(child=serializers.CharField())

    def get_provider(self, row: Any) -> str | None:
        return row.provider or None

    def get_upstream_model(self, row: Any) -> str | None:
        return row.upstream_model or None


class CorrectionSerializer(_Shown):
    at = serializers.DateTimeField()
    reason = serializers.CharField()
    actor = serializers.CharField()
    charge_nano = serializers.IntegerField()
    cost_nano = serializers.IntegerField(allow_null=True)
    tokens = serializers.IntegerField()


class RequestDetailSerializer(_Shown):
    summary = LoggedRequestSerializer()
    attempts = AttemptSerializer(many=True)
    corrections = CorrectionSerializer(many=True)
    is_claimed = serializers.BooleanField(
        help_text="The key is the one that a refused request named, and could not prove to have."
    )


class RequestLogView(ManagementView):
    """List requests, newest first; those of the last 24 hours if no time is asked for."""

    operation = "requests_list"
    serializer_class = RequestLogSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {
        "cursor": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "tenant": {"type": "integer"},
        "since": {"type": "string", "format": "date-time"},
        "until": {"type": "string", "format": "date-time"},
        "status": {"type": "string", "enum": list(STATUSES)},
        "source": {"type": "string", "enum": list(SOURCES)},
        "guardrail": {"type": "string", "enum": list(GUARDRAIL_OUTCOMES)},
        "cache": {"type": "string", "enum": list(CACHE_OUTCOMES)},
        "attempts": {"type": "string", "enum": list(ATTEMPTS)},
        **{name: {"type": "string", "maxLength": MAX_TEXT} for name in TEXTS},
    }

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for by these parameters."""
        if not who.may_somewhere("view", Area.USAGE):
            raise PermissionDenied
        if unknown := sorted(set(given) - self.asked.keys()):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        asked = _filter(who, given)
        found = requests.read_page(
            who, asked, before=_place(given.get("cursor")), limit=_limit(given.get("limit"))
        )
        next_cursor = None if found.older is None else str(found.older)
        shown: Any = RequestLogSerializer({"data": found.rows, "next_cursor": next_cursor}).data
        return dict(shown)


class RequestView(ManagementView):
    """Get one request in whole, by its id."""

    operation = "requests_retrieve"
    serializer_class = RequestDetailSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def get(self, request: Request, key: str) -> Response:
        who = access_of(request)
        if not who.may_somewhere("view", Area.USAGE):
            raise PermissionDenied
        found = find_request(who, key)
        if found is None:
            raise Http404
        return Response(RequestDetailSerializer(found).data)


def _filter(who: Access, given: Mapping[str, str]) -> RequestFilter:
    until = _instant("until", given.get("until"), clock.now())
    since = _instant("since", given.get("since"), until - timedelta(days=1))
    if since >= until:
        raise errors.InvalidFields({"since": ["It must be before 'until'."]})
    if until - since > MAX_SPAN:
        raise errors.InvalidFields({"since": [f"Ask for at most {MAX_SPAN.days} days."]})
    for name, values in CHOICES.items():
        if name in given and given[name] not in values:
            raise errors.InvalidFields({name: [f"Use one of {', '.join(values)}."]})
    for name in TEXTS:
        if len(given.get(name, "")) > MAX_TEXT or "\0" in given.get(name, ""):
            raise errors.InvalidFields({name: [f"Write at most {MAX_TEXT} characters."]})
    texts: dict[str, Any] = {name: given.get(name, "") for name in (*TEXTS, *CHOICES)}
    return RequestFilter(since, until, _tenants(who, given.get("tenant")), **texts)


def _tenants(who: Access, text: str | None) -> frozenset[int] | None:
    """Return the tenant that is asked about; None for all that the token sees. Raise Http404 for one that it
    has no part in."""
    if text is None:
        return None
    if not could_be_key(Tenant, "pk", text):
        raise Http404
    found = Tenant.objects.filter(pk=text).values_list("pk", flat=True).first()
    if found is None or not (who.sees_all_tenants or found in who.tenants):
        raise Http404
    return frozenset({found})


def _instant(name: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        return instant(text.replace(" ", "+"))
    except ValidationError as error:
        raise errors.InvalidFields({name: error.messages}) from error


def _place(text: str | None) -> LogPlace | None:
    if not text:
        return None
    try:
        return LogPlace.parse(text)
    except ValueError:
        told = "This is not a cursor of this list; begin again without one."
        raise errors.InvalidFields({"cursor": [told]}) from None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        told = f"Write a whole number between 1 and {MAX_LIMIT}."
        raise errors.InvalidFields({"limit": [told]})
    return int(text)
