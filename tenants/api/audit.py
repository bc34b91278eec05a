"""Serve the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from django.db.models import QuerySet
from rest_framework import serializers

from tenants.api.rows import Rows, RowSerializer
from tenants.managed.audit import AUDIT_EVENTS
from tenants.models import AuditEvent
from tenants.reports import audit as reports
from tenants.reports.audit import AuditFilter


class FactsField(serializers.DictField):
    """JSON that is stored as text."""

    def to_representation(self, value: Any) -> Any:
        return orjson.Fragment(value)


class EventSerializer(RowSerializer):
    changes = FactsField(read_only=True, help_text="By column: before and after.")
    details = FactsField(read_only=True)

    class Meta:
        model = AuditEvent
        fields = (
            "id", "tenant", "chain", "sequence", "at", "actor_kind", "actor_id", "actor_name",
            "address", "reason", "action", "object_type", "object_id", "object_name", "changes",
            "details", "previous_hash", "hash",
        )  # fmt: skip


class EventRows(Rows):
    resource, about = AUDIT_EVENTS, "events of the audit log"
    serializer_class = EventSerializer
    filters: ClassVar[dict[str, str]] = {
        "tenant": "tenant",
        "action": "action",
        "actor": "actor_name",
        "object_type": "object_type",
        "object_id": "object_id",
        "since": "at__gte",
        "until": "at__lt",
    }
    WANTED: ClassVar[Mapping[str, str]] = {
        "action": "action",
        "actor_name": "actor",
        "object_type": "object_type",
        "object_id": "object_id",
        "at__gte": "start",
        "at__lt": "end",
    }

    def narrowed(self, rows: QuerySet[Any], conditions: Mapping[str, Any]) -> QuerySet[Any]:
        """Choose along the log's indexes, as its page does: ids begin with the time."""
        wanted = {
            self.WANTED[name]: value for name, value in conditions.items() if name in self.WANTED
        }
        others = {name: value for name, value in conditions.items() if name not in self.WANTED}
        return reports.filtered(rows.filter(**others), AuditFilter(**wanted))
