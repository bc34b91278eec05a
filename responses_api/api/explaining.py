"""Explain where a call would go."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.app_state import routing_state_of
from responses_api.calls import explain_words
from responses_api.calls.explain import RouteQuestion, explain, key_seen, tenant_seen
from routing.managed import ALIASES
from routing.models import Alias
from tenants.api.base import ManagementView, access_of, body_of


class RouteQuestionSerializer(serializers.Serializer[Any]):
    alias = serializers.IntegerField(help_text="The alias's id.")
    tenant = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="As a key of this tenant; by default the alias's own.",
    )
    key = serializers.CharField(
        required=False, allow_null=True, help_text="As this key: its public id."
    )
    route = serializers.CharField(
        required=False,
        help_text="The client's format, such as chat; told from the body if left out.",
    )
    body = serializers.DictField(
        required=False, allow_null=True, help_text="The request; a short one if left out."
    )


class CircuitSerializer(serializers.Serializer[Any]):
    is_open = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)
    seconds_left = serializers.FloatField(allow_null=True)
    is_tight = serializers.BooleanField()
    in_flight = serializers.IntegerField()
    ttft_seconds = serializers.FloatField(allow_null=True)


class ExplainedLaneSerializer(serializers.Serializer[Any]):
    target = serializers.CharField()
    credential = serializers.CharField(allow_null=True)
    tier = serializers.IntegerField()
    weight = serializers.IntegerField()
    place = serializers.IntegerField(allow_null=True, help_text="From 1; null if it is dropped.")
    share_percent = serializers.IntegerField(
        allow_null=True, help_text="Of such calls, those that begin here; counted over many plans."
    )
    reason = serializers.CharField(allow_null=True, help_text="docs/routing.md lists them.")
    detail = serializers.CharField(allow_null=True)
    circuit = CircuitSerializer()


class RouteExplanationSerializer(serializers.Serializer[Any]):
    alias = serializers.CharField()
    strategy = serializers.CharField()
    affinity = serializers.CharField()
    max_attempts = serializers.IntegerField()
    refusal = serializers.CharField(allow_null=True, help_text="What the client would be told.")
    all_open = serializers.BooleanField()
    facts = serializers.DictField()
    lanes = ExplainedLaneSerializer(many=True)
    hidden_lanes = serializers.IntegerField()


class ExplainRouteView(ManagementView):
    """Explain where a call would go, and why; nothing is called."""

    operation = "explain_route"
    serializer_class = RouteExplanationSerializer
    body_class = RouteQuestionSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def post(self, request: Request) -> Response:
        who, given = access_of(request), body_of(request, RouteQuestionSerializer().fields)
        alias = ALIASES.visible(who, Alias.objects.filter(pk=_number(given, "alias"))).first()
        if alias is None:
            raise ValidationError({"alias": "There is no such alias."})
        key = given.get("key")
        tenant = _number(given, "tenant") if given.get("tenant") is not None else alias.tenant_id
        question = RouteQuestion(
            model=alias.name,
            tenant=tenant_seen(who, tenant),
            key=None if key is None else key_seen(who, str(key)),
            route=str(given.get("route") or ""),
            body=_body(given.get("body")),
        )
        state = routing_state_of(request._request)
        return Response(explain_words.as_json(explain(who, question, *state)))


def _number(given: dict[str, Any], name: str) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise ValidationError({name: "Give an id, a number."})
    return value


def _body(given: Any) -> dict[str, Any] | None:
    if given is not None and not isinstance(given, dict):
        raise ValidationError({"body": "It must be a JSON object."})
    return given
