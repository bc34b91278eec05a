"""Serve guardrails, what they found, and the bench on which they are tried."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from responses_api.enforcement.managed import EVENTS, GUARDRAILS, MAX_SECRET
from responses_api.models import Guardrail, GuardrailEvent
from responses_api.validators import GUARDRAIL_STAGES
from tenants.access.access import Access
from tenants.api.rows import Rows, RowSerializer


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
