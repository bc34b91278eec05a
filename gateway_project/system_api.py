"""Serve how the installation is, to operators and auditors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project import system_report
from tenants.access.access import Access
from tenants.api.base import ManagementView, access_of


class FindingSerializer(serializers.Serializer[Any]):
    level = serializers.ChoiceField(choices=("ok", "hint", "broken"))
    subject = serializers.CharField()
    message = serializers.CharField()


class ProcessSignSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    host = serializers.CharField()
    beat_at = serializers.DateTimeField(help_text="Its last sign of life.")
    is_alive = serializers.BooleanField()


class LedgerStateSerializer(serializers.Serializer[Any]):
    as_of = serializers.DateTimeField(help_text="Every call opened before has its row.")
    lag_seconds = serializers.FloatField()
    open_spools = serializers.IntegerField()
    unread_bytes = serializers.IntegerField()
    abandoned = serializers.IntegerField(help_text="Calls whose process died, of open spools.")
    hours_to_sum = serializers.IntegerField()


class StoredTableSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    rows = serializers.IntegerField(allow_null=True, help_text="The database's estimate.")


class SystemSerializer(serializers.Serializer[Any]):
    is_sound = serializers.BooleanField(help_text="Whether no finding is `broken`.")
    findings = FindingSerializer(many=True)
    processes = ProcessSignSerializer(many=True)
    ledger = LedgerStateSerializer()
    database = serializers.CharField()
    database_bytes = serializers.IntegerField(allow_null=True)
    tables = StoredTableSerializer(many=True, help_text="The largest; PostgreSQL only.")


class SystemView(ManagementView):
    """Tell what needs somebody (as `doctor` does), which processes live, and how far the ledger is."""

    operation = "system_report"
    serializer_class = SystemSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), {}))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return how the installation is."""
        return dict(SystemSerializer(system_report.report(who)).data)
