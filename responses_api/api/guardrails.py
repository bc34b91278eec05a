"""Serve guardrails, what they found, and the bench on which they are tried."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from responses_api.enforcement import bench
from responses_api.enforcement.bench import BenchQuestion
from responses_api.enforcement.managed import EVENTS, GUARDRAILS, MAX_SECRET
from responses_api.enforcement.specs import AppliedGuardrail
from responses_api.models import Guardrail, GuardrailEvent
from responses_api.validators import GUARDRAIL_STAGES
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of
from tenants.api.rows import Rows, RowSerializer
from tenants.models import ApiKey


class GuardrailSerializer(RowSerializer):
    stages = serializers.ListField(
        child=serializers.ChoiceField(choices=GUARDRAIL_STAGES), required=False
    )
    config = serializers.DictField(
        required=False, help_text="What it looks for, by kind (docs/guardrails.md)."
    )
    secret = serializers.CharField(
        write_only=True,
        required=False,
        max_length=MAX_SECRET,
        help_text="Of an external check. It goes in and never comes out.",
    )
    has_secret = serializers.SerializerMethodField()

    class Meta:
        model = Guardrail
        fields = ("id", *GUARDRAILS.fields, "secret", "has_secret", "revision", "created_at")
        read_only_fields = ("id", "has_secret", "revision", "created_at")

    def get_has_secret(self, row: Guardrail) -> bool:
        return bool(row.sealed_secret)


class GuardrailRows(Rows):
    resource, about = GUARDRAILS, "guardrails"
    serializer_class = GuardrailSerializer
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "kind": "kind", "enabled": "enabled"}
    shows_secret = True


class GuardrailEventSerializer(RowSerializer):
    guardrail_id = serializers.IntegerField()

    class Meta:
        model = GuardrailEvent
        fields = (
            "id", "tenant", "request_id", "key_public_id", "at", "guardrail_id", "guardrail",
            "is_platforms", "revision", "stage", "surface", "rule", "action", "count", "offset",
            "length", "digest", "latency_ms", "failure",
        )  # fmt: skip


class GuardrailEventRows(Rows):
    resource, about = EVENTS, "events of guardrails"
    serializer_class = GuardrailEventSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "request_id": "request_id",
        "guardrail_id": "guardrail_id",
        "guardrail": "guardrail",
        "action": "action",
        "stage": "stage",
        "since": "at__gte",
        "until": "at__lt",
    }


class BenchBodySerializer(serializers.Serializer[Any]):
    """A text to try, and on what: one guardrail, or all that apply to calls of a key for a model."""

    # Places are counted in the text as it was given.
    text = serializers.CharField(max_length=bench.MAX_TEXT, trim_whitespace=False)
    guardrail = serializers.IntegerField(required=False)
    key = serializers.CharField(required=False, help_text="A key's public id.")
    model = serializers.CharField(required=False)
    stage = serializers.ChoiceField(choices=GUARDRAIL_STAGES, required=False)
    piece = serializers.IntegerField(
        required=False, help_text="As a stream of so many characters at a time; 0: as a whole."
    )
    external = serializers.BooleanField(
        required=False, help_text="Ask external checks, too: those that the token may change."
    )


class BenchSpanSerializer(serializers.Serializer[Any]):
    guardrail = serializers.CharField()
    rule = serializers.CharField()
    action = serializers.CharField()
    start = serializers.IntegerField(help_text="In code points of the text.")
    end = serializers.IntegerField()
    replacement = serializers.CharField()


class BenchCheckSerializer(serializers.Serializer[Any]):
    guardrail = serializers.CharField()
    outcome = serializers.CharField()
    rule = serializers.CharField()
    latency_ms = serializers.IntegerField()
    failure = serializers.CharField()


class BenchResultSerializer(serializers.Serializer[Any]):
    outcome = serializers.CharField(help_text="The strongest.")
    text = serializers.CharField(help_text="As it would go on.")
    spans = BenchSpanSerializer(many=True)
    checks = BenchCheckSerializer(many=True)
    not_asked = serializers.ListField(child=serializers.CharField())


class GuardrailTestView(ManagementView):
    """Try guardrails on a text, with the code that calls go through. Nothing is stored."""

    operation = "guardrail_tests_create"
    serializer_class = BenchResultSerializer
    body_class = BenchBodySerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def post(self, request: Request) -> Response:
        who = access_of(request)
        if not who.may_somewhere("view", Area.GUARDRAILS):
            raise PermissionDenied
        given = _checked(body_of(request, BenchBodySerializer().fields))
        applied = _applied(who, given)
        question = BenchQuestion(
            given["text"],
            given.get("stage", "input"),
            given.get("piece", 0),
            given.get("external", False),
        )
        found = bench.try_text(who, applied, question)
        return Response(dataclasses.asdict(found))


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    serializer = BenchBodySerializer(data=body)
    if not serializer.is_valid():
        told = {
            name: [str(each) for each in errors_] for name, errors_ in serializer.errors.items()
        }
        raise errors.InvalidFields(told)
    found: dict[str, Any] = serializer.validated_data
    if ("guardrail" in found) == ("key" in found):
        raise errors.InvalidFields({"guardrail": ["Name a guardrail, or a key."]})
    return found


def _applied(who: Access, given: dict[str, Any]) -> tuple[AppliedGuardrail, ...]:
    """Return what is tried. Raise Http404 for what the token may not see."""
    if "guardrail" in given:
        row = GUARDRAILS.visible(who, Guardrail.objects.all()).filter(pk=given["guardrail"]).first()
        if row is None:
            raise Http404
        return bench.of_row(row)
    key = ApiKey.objects.filter(public_id=given["key"]).first()
    if key is None or not who.may("view", Area.GUARDRAILS, key.tenant_id):
        raise Http404
    return bench.of_key(key, given.get("model", ""))
