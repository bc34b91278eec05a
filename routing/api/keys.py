"""Serve API keys whole: with the aliases they may use, made together with their limits and budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import Prefetch
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib.db import durable_transaction
from routing import grants
from routing.models import AliasGrant
from routing.reports import first_request
from tenants import managed
from tenants.access.access import Access
from tenants.api.accounts import KeyRows, KeySerializer
from tenants.api.base import access_of
from tenants.api.money import BudgetSerializer, LimitSerializer
from tenants.models import ApiKey, Budget, RateLimit


class NewLimitSerializer(LimitSerializer):
    """A rate limit of the key that is made."""

    class Meta:
        model = RateLimit
        fields = ("metric", "window", "amount")


class NewBudgetSerializer(BudgetSerializer):
    """The budget of the key that is made."""

    name = serializers.CharField(required=False, help_text="The key's, if none is given.")

    class Meta:
        model = Budget
        fields = ("name", "amount_nano", "period", "mode", "thresholds", "alert_emails", "enabled")


class AliasNames(serializers.ListField):
    """The aliases a restricted key is granted, by name."""

    def get_attribute(self, instance: ApiKey) -> list[str]:
        if instance.all_aliases:
            return []
        return sorted(grant.alias.name for grant in instance.alias_grants.all())


class WholeKeySerializer(KeySerializer):
    aliases = AliasNames(
        child=serializers.CharField(),
        required=False,
        help_text="The only aliases it may use, by name; to give them restricts a key to them. Empty where "
        "`all_aliases` is true.",
    )
    limits = NewLimitSerializer(
        many=True, write_only=True, required=False, help_text="Of a new key; later, use `limits`."
    )
    budget = NewBudgetSerializer(
        write_only=True, required=False, help_text="Of a new key; later, use `budgets`."
    )

    class Meta:
        model = ApiKey
        fields = (*KeySerializer.Meta.fields, *grants.PARTS)
        read_only_fields = KeySerializer.Meta.read_only_fields


class FirstRequestSerializer(serializers.Serializer[Any]):
    """Tells whether a key has been used, and if not what stood in the way."""

    state = serializers.ChoiceField(choices=first_request.STATES)
    request_id = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField(allow_null=True)
    code = serializers.CharField(allow_blank=True, help_text="Of what failed (docs/errors.md).")
    sentence = serializers.CharField(allow_blank=True, help_text="What happened, in words.")
    cure = serializers.ChoiceField(
        choices=first_request.CURES, allow_blank=True, help_text="What would let it through."
    )


class WholeKeyRows(KeyRows):
    serializer_class = WholeKeySerializer
    prefetched = ("secrets", Prefetch("alias_grants", AliasGrant.objects.select_related("alias")))
    further: ClassVar[dict[str, Any]] = {
        **KeyRows.further,
        "first-request": {"get": "first_request"},
    }
    results: ClassVar[dict[str, Any]] = {"first_request": FirstRequestSerializer}

    def make(self, who: Access, values: dict[str, Any]) -> managed.Created[ApiKey]:
        return grants.create_whole_key(who, values)

    def alter(
        self,
        who: Access,
        row: Any,
        values: dict[str, Any],
        unless: Callable[[Any], None] | None = None,
    ) -> None:
        if of_new := sorted({"limits", "budget"} & values.keys()):
            told = f"This is given of a new key; use the route `{of_new[0].rstrip('s')}s`."
            raise ValidationError({of_new[0]: told})
        names = values.pop("aliases", None)
        if names is not None and values.setdefault("all_aliases", False) is not False:
            raise ValidationError({"aliases": "A key for all aliases is restricted to none."})
        with durable_transaction():
            super().alter(who, row, values, unless)
            if names is not None:
                grants.set_aliases_by_name(who, row, names)

    def first_request(self, request: Request, key: str) -> Response:
        """Tell whether the key was used with success; if not, what stood in the way last."""
        return Response(first_request_of(access_of(request), self.row(request, key)))


def first_request_of(who: Access, key: ApiKey) -> dict[str, Any]:
    """Return whether a key was used with success, and if not what stood in the way."""
    found = first_request.first_request(who, key, key.created_at)
    return dict(FirstRequestSerializer(found).data)
