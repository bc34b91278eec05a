"""Serve the prices that hold, what others would have come to, and price lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from django.core.exceptions import PermissionDenied
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import actor, clock, errors
from routing import price_import, price_setting
from routing.reports import prices, repricing
from routing.reports.holding import COLUMNS
from routing.reports.prices import EffectivePrice
from routing.reports.repricing import PricePreview
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import (
    ManagementView,
    access_of,
    body_of,
    refuse_unless_somewhere,
    tenant_asked_for,
)
from tenants.api.money import LineSerializer
from tenants.managed.tables import LINE_FIELDS
from tenants.prices import dollars
from tenants.prices.publishing import Subject
from tenants.prices.rating import DEFAULT_TIER, Line


class EffectivePriceSerializer(serializers.Serializer[Any]):
    book = serializers.ChoiceField(choices=("charge", "cost"))
    provider = serializers.CharField(allow_blank=True)
    model = serializers.CharField(help_text="The provider's name for it, or an alias.")
    tenant = serializers.CharField(allow_blank=True, help_text="A slug; blank: every tenant.")
    kind = serializers.CharField(help_text="docs/management-api.md")
    price = serializers.DictField(
        child=serializers.CharField(), allow_null=True, help_text="Dollars per million tokens."
    )
    has_further = serializers.BooleanField(help_text="Tiers, thresholds or other units, too.")
    version = serializers.IntegerField(allow_null=True)
    effective_from = serializers.DateTimeField(allow_null=True)
    source = serializers.CharField(allow_blank=True)  # type: ignore[assignment]  # the field
    unpriced = serializers.IntegerField(help_text="Calls of 30 days without a price.")


class EffectivePricesSerializer(serializers.Serializer[Any]):
    data = EffectivePriceSerializer(many=True)  # type: ignore[assignment]  # the field
    has_more = serializers.BooleanField()


class PreviewRequestSerializer(serializers.Serializer[Any]):
    alias = serializers.CharField(required=False, max_length=300)
    tenant = serializers.IntegerField(required=False, allow_null=True)
    provider = serializers.CharField(required=False, max_length=63)
    model = serializers.CharField(required=False, max_length=300)
    lines = LineSerializer(many=True)


class PreviewSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    requests = serializers.IntegerField()
    before_nano = serializers.IntegerField(allow_null=True)
    after_nano = serializers.IntegerField()
    booked_nano = serializers.IntegerField()
    is_rough = serializers.BooleanField()
    tokens = serializers.DictField(child=serializers.IntegerField())


class ImportRequestSerializer(serializers.Serializer[Any]):
    list = serializers.DictField(
        required=False, help_text="A price list; the packaged one without it."
    )
    provider = serializers.CharField(required=False, max_length=63)
    publish = serializers.BooleanField(required=False)


class ImportSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(help_text="The list, and its day.")  # type: ignore[assignment]
    published = serializers.IntegerField()
    models = serializers.ListField(child=serializers.DictField())


class EffectivePricesView(ManagementView):
    """List the prices that hold now; for a tenant what it pays, whoever's prices those are."""

    operation = "prices_effective"
    serializer_class = EffectivePricesSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {
        "tenant": {"type": "integer"},
        "words": {"type": "string"},
    }

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for by these parameters."""
        if unknown := sorted(set(given) - self.asked.keys()):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        refuse_unless_somewhere(who, "view", Area.PRICES)
        tenant = tenant_asked_for(who, given.get("tenant"))
        found = prices.effective(who, tenant, given.get("words", ""))
        return {"data": [_shown(row) for row in found.rows], "has_more": found.has_more}


class PricePreviewView(ManagementView):
    """Say what the tokens of 30 days come to by the price that holds and by others; operators only."""

    operation = "prices_preview"
    serializer_class = PreviewSerializer
    body_class = PreviewRequestSerializer

    def post(self, request: Request) -> Response:
        who = access_of(request)
        refuse_unless_publisher(who)
        body = body_of(request, ("alias", "tenant", "provider", "model", "lines"))
        subject = _subject(who, body)
        try:
            found = repricing.preview(subject, _lines(body.get("lines")), clock.now())
        except ValueError as error:
            raise errors.InvalidFields({"lines": [str(error)]}) from error
        return Response(shown_preview(found))


class PriceImportView(ManagementView):
    """Compare a price list with what is published, and publish what differs if asked; operators only."""

    operation = "prices_import"
    serializer_class = ImportSerializer
    body_class = ImportRequestSerializer

    def post(self, request: Request) -> Response:
        refuse_unless_publisher(access_of(request))
        body = body_of(request, ("list", "provider", "publish"))
        kinds = {"list": dict, "provider": str, "publish": bool}
        for name, kind in kinds.items():
            if name in body and not isinstance(body[name], kind):
                raise errors.InvalidFields({name: ["This is of another type."]})
        given = body.get("list")
        listed = (
            price_import.read(None)
            if given is None
            else price_import.decode(msgspec.json.encode(given))
        )
        now, source = clock.now(), price_import.source_of(listed)
        changes = price_import.compare(listed, now, body.get("provider"))
        published = 0
        if body.get("publish", False):
            by = actor.current().name[:200]
            published = price_import.publish(changes, source, by, now)
        models = [change.as_json() for change in changes]
        return Response({"source": source, "published": published, "models": models})


def refuse_unless_publisher(who: Access) -> None:
    """Raise PermissionDenied for whoever may not publish the platform's prices."""
    if not {(Area.PRICES, "add"), (Area.PRICES, "change")} <= who.platform:
        raise PermissionDenied


def columns_in_dollars(picos: Sequence[int] | None) -> dict[str, str] | None:
    """Return a row's prices by token class, in dollars per million."""
    if picos is None:
        return None
    return {name: dollars.per_million(pico) for name, pico in zip(COLUMNS, picos, strict=True)}


def shown_preview(found: PricePreview) -> dict[str, Any]:
    return {
        "since": found.since,
        "requests": found.requests,
        "before_nano": found.before,
        "after_nano": found.after,
        "booked_nano": found.booked,
        "is_rough": found.is_rough,
        "tokens": dict(found.tokens),
    }


def _shown(row: EffectivePrice) -> dict[str, Any]:
    names = (
        "book", "provider", "model", "tenant", "kind", "has_further", "version", "effective_from",
        "source", "unpriced",
    )  # fmt: skip
    return {**{name: getattr(row, name) for name in names}, "price": columns_in_dollars(row.picos)}


def _subject(who: Access, body: Mapping[str, Any]) -> Subject:
    names = {name: body.get(name, "") for name in ("alias", "provider", "model")}
    for name, value in names.items():
        if not isinstance(value, str) or "\0" in value:
            raise errors.InvalidFields({name: ["Write a text."]})
    key = body.get("tenant")
    if key is not None and (isinstance(key, bool) or not isinstance(key, int)):
        raise errors.InvalidFields({"tenant": ["Write the id of a tenant, or null for all."]})
    tenant = None if key is None else tenant_asked_for(who, str(key))
    return price_setting.subject_of(names["alias"], tenant, names["provider"], names["model"])


def _lines(given: Any) -> list[Line]:
    told = f"Write a list of objects with {', '.join(LINE_FIELDS)}."
    if not isinstance(given, list) or len(given) > 1000:
        raise errors.InvalidFields({"lines": [told]})
    return [_line(each, told) for each in given]


def _line(given: Any, told: str) -> Line:
    if not isinstance(given, dict) or set(given) - set(LINE_FIELDS):
        raise errors.InvalidFields({"lines": [told]})
    tier, above = given.get("service_tier", DEFAULT_TIER), given.get("above_tokens", 0)
    name, pico = given.get("token_class"), given.get("pico_per_token")
    texts = all(isinstance(each, str) for each in (name, tier))
    numbers = all(type(each) is int and 0 <= each < 2**63 for each in (above, pico))
    if not texts or not numbers:
        raise errors.InvalidFields({"lines": [told]})
    return Line(str(name), int(pico or 0), str(tier), above)
