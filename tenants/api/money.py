"""Serve what may be spent, how fast, and at which prices: limits, budgets, price versions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import actor, clock
from tenants.api.base import body_of
from tenants.api.rows import PlainSerializer, Rows, RowSerializer
from tenants.managed.tables import BUDGETS, LIMITS, LINE_FIELDS, PRICES
from tenants.models import ApiKey, Budget, BudgetWindow, PriceLine, PriceVersion, RateLimit
from tenants.prices import publishing
from tenants.reports import budgets


def key_field() -> serializers.SlugRelatedField[ApiKey]:
    """Return the field by which a bound names its key."""
    return serializers.SlugRelatedField(
        slug_field="public_id",
        queryset=ApiKey.objects.all(),
        allow_null=True,
        required=False,
        help_text="A key's id; null: all keys of the tenant together.",
    )


class LimitSerializer(RowSerializer):
    api_key = key_field()

    class Meta:
        model = RateLimit
        fields = ("id", *LIMITS.fields)
        read_only_fields = ("id",)


class LimitRows(Rows):
    resource, about = LIMITS, "rate limits"
    serializer_class = LimitSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "api_key": "api_key__public_id"}
    joined = ("api_key",)


class BudgetSerializer(RowSerializer):
    api_key = key_field()
    thresholds = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=1000),
        required=False,
        help_text="Percentages of the amount at which alerts are sent, for example [50, 80, 100].",
    )
    alert_emails = serializers.ListField(child=serializers.EmailField(), required=False)

    class Meta:
        model = Budget
        fields = ("id", *BUDGETS.fields, "created_at")
        read_only_fields = ("id", "created_at")


class WindowSerializer(PlainSerializer):
    class Meta:
        model = BudgetWindow
        fields = ("starts_at", "ends_at", "spent_nano", "reserved_nano")
        read_only_fields = fields


class StandingSerializer(serializers.Serializer[Any]):
    """A budget in its running period. Amounts are nano-dollars."""

    starts_at = serializers.DateTimeField(
        allow_null=True, help_text="Null for a total, which counts from the first call on."
    )
    ends_at = serializers.DateTimeField(allow_null=True, help_text="When the next period begins.")
    amount_nano = serializers.IntegerField()
    used_nano = serializers.IntegerField()
    reserved_nano = serializers.IntegerField(
        help_text="Held for running calls, and lent to processes that expect some."
    )
    left_nano = serializers.IntegerField(
        help_text="Negative where a budget that only warns is exceeded."
    )
    daily_nano = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="What was charged on each of the last seven days (UTC), today the last.",
    )
    runs_out_at = serializers.DateTimeField(
        allow_null=True, help_text="At the pace of those days; null: not within the period."
    )
    reached = serializers.ListField(
        child=serializers.IntegerField(), help_text="Thresholds reached in the period, in percent."
    )


MAX_WINDOWS = 100


class BudgetRows(Rows):
    resource, about = BUDGETS, "budgets"
    serializer_class = BudgetSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "api_key": "api_key__public_id"}
    joined = ("tenant", "api_key")
    further: ClassVar[dict[str, str]] = {"windows": "get", "standing": "get"}
    answers: ClassVar[dict[str, Any]] = {"windows": WindowSerializer}
    results: ClassVar[dict[str, Any]] = {"standing": StandingSerializer}

    def windows(self, request: Request, key: str) -> Response:
        """List the newest periods of the budget, with what is spent and held of it."""
        return Response(windows_of(self.row(request, key)))

    def standing(self, request: Request, key: str) -> Response:
        """Tell what is used, reserved and left of the running period, and how long that lasts."""
        return Response(standing_of(self.row(request, key)))


def windows_of(budget: Budget) -> dict[str, Any]:
    """Return the newest periods of a budget."""
    newest = budget.windows.order_by("-starts_at")[: MAX_WINDOWS + 1]
    shown = WindowSerializer(newest, many=True).data
    return {"data": shown[:MAX_WINDOWS], "has_more": len(shown) > MAX_WINDOWS}


def standing_of(budget: Budget) -> dict[str, Any]:
    """Return what is used, reserved and left of a budget's running period."""
    return dict(StandingSerializer(budgets.standing(budget)).data)


class LineSerializer(PlainSerializer):
    class Meta:
        model = PriceLine
        fields = LINE_FIELDS


class PriceSerializer(RowSerializer):
    lines = LineSerializer(many=True, required=False)

    class Meta:
        model = PriceVersion
        fields = ("id", *PRICES.fields, "lines", "published_at", "published_by", "created_at")
        read_only_fields = ("id", "published_at", "published_by", "created_at")


class PublicationSerializer(serializers.Serializer[Any]):
    or_from_now = serializers.BooleanField(
        required=False, help_text="Let a draft made for an earlier instant apply from now."
    )


class PriceRows(Rows):
    resource, about = PRICES, "price versions"
    serializer_class = PriceSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "book": "book",
        "provider": "provider",
        "model": "model",
    }
    prefetched = ("lines",)
    further: ClassVar[dict[str, str]] = {"publish": "post"}
    bodies: ClassVar[dict[str, Any]] = {"publish": PublicationSerializer}

    def publish(self, request: Request, key: str) -> Response:
        """Publish a draft; it never changes afterwards."""
        row = self.row(request, key)
        self.refuse_unless("change", request, row)
        or_from_now = body_of(request, ("or_from_now",)).get("or_from_now", False)
        if not isinstance(or_from_now, bool):
            raise ValidationError({"or_from_now": "Write true or false."})
        who = actor.current().name[:200]
        publishing.publish(row, who, clock.now(), or_from_now=or_from_now)
        return self.answer(self.row(request, key), request)
