"""Serve what the console's lists show of providers and aliases beside their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from routing.api.prices import columns_in_dollars
from routing.managed import ALIASES, PROVIDERS
from routing.models import Alias, Provider, UpstreamTest
from routing.reports import upstreams
from routing.reports.traffic import CallCounts
from routing.reports.upstreams import AliasFigures, ProviderFigures, TargetFigures
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import (
    ManagementView,
    access_of,
    refuse_unless_somewhere,
    tenant_asked_for,
)
from tenants.api.rows import PlainSerializer

MAX_ROWS = 1000


class UpstreamTestSerializer(PlainSerializer):
    class Meta:
        model = UpstreamTest
        fields = ("provider", "upstream_id", "tested_at", "ok", "status", "latency_ms", "error")
        read_only_fields = fields


class ProviderFiguresSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    credentials = serializers.ListField(child=serializers.CharField())
    models = serializers.IntegerField()
    calls = serializers.IntegerField(help_text="Of this hour and the last.")
    failed = serializers.IntegerField()
    last_test = UpstreamTestSerializer(allow_null=True)


class ProviderFiguresListSerializer(serializers.Serializer[Any]):
    data = ProviderFiguresSerializer(many=True)  # type: ignore[assignment]  # the field
    has_more = serializers.BooleanField()


class TargetFiguresSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    health = serializers.ChoiceField(choices=("good", "warn", "bad", "idle"))
    calls = serializers.IntegerField(help_text="Of this hour and the last.")
    failed = serializers.IntegerField()
    last_test = UpstreamTestSerializer(allow_null=True)


class AliasFiguresSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    targets = TargetFiguresSerializer(many=True)
    price_kind = serializers.CharField(help_text="docs/management-api.md")
    price = serializers.DictField(
        child=serializers.CharField(), allow_null=True, help_text="Dollars per million tokens."
    )
    requests = serializers.IntegerField(
        allow_null=True, help_text="Of 24 hours; null for a link, which counts as what it leads to."
    )


class AliasFiguresListSerializer(serializers.Serializer[Any]):
    data = AliasFiguresSerializer(many=True)  # type: ignore[assignment]  # the field
    has_more = serializers.BooleanField()


class ProviderFiguresView(ManagementView):
    """Tell how providers are doing: credentials, models, calls of this hour and the last, newest test."""

    operation = "providers_figures"
    serializer_class = ProviderFiguresListSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for by these parameters."""
        refuse_unknown(given, self.asked)
        refuse_unless_somewhere(who, "view", Area.PROVIDERS)
        rows = list(PROVIDERS.visible(who, Provider.objects.order_by("name", "pk"))[: MAX_ROWS + 1])
        figures = upstreams.of_providers(who, rows[:MAX_ROWS])
        data = [_of_provider(row, figures[row.pk]) for row in rows[:MAX_ROWS]]
        return {"data": data, "has_more": len(rows) > MAX_ROWS}


class AliasFiguresView(ManagementView):
    """Tell how aliases are doing: models behind them, prices that hold, requests of 24 hours."""

    operation = "aliases_figures"
    serializer_class = AliasFiguresListSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {"tenant": {"type": "integer"}}

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for by these parameters."""
        refuse_unknown(given, self.asked)
        refuse_unless_somewhere(who, "view", Area.ALIASES)
        tenant = tenant_asked_for(who, given.get("tenant"))
        aliases = Alias.objects.select_related("platform_alias").order_by("name", "pk")
        rows = list(ALIASES.visible(who, aliases)[: MAX_ROWS + 1])
        payer = None if tenant is None else tenant.pk
        figures = upstreams.of_aliases(who, rows[:MAX_ROWS], payer)
        data = [_of_alias(row, figures[row.pk]) for row in rows[:MAX_ROWS]]
        return {"data": data, "has_more": len(rows) > MAX_ROWS}


def refuse_unknown(given: Mapping[str, str], known: Any) -> None:
    """Raise InvalidFields for parameters that there are not."""
    if unknown := sorted(set(given) - set(known)):
        raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})


def shown_test(test: UpstreamTest | None) -> Any:
    return None if test is None else dict(UpstreamTestSerializer(test).data)


def _of_provider(row: Provider, figures: ProviderFigures) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "credentials": list(figures.credentials),
        "models": figures.models,
        **_traffic(figures.traffic),
        "last_test": shown_test(figures.test),
    }


def _of_alias(row: Alias, figures: AliasFigures) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "targets": [_of_target(target) for target in figures.targets],
        "price_kind": figures.price.kind,
        "price": columns_in_dollars(figures.price.picos),
        "requests": figures.requests,
    }


def _of_target(figures: TargetFigures) -> dict[str, Any]:
    return {
        "id": figures.target.pk,
        "name": figures.name,
        "health": figures.health,
        **_traffic(figures.traffic),
        "last_test": shown_test(figures.test),
    }


def _traffic(went: CallCounts) -> dict[str, int]:
    return {"calls": went.calls, "failed": went.failed}
