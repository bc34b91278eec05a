"""State the rules for the audit log, which is read alone."""

from __future__ import annotations

from django.db.models import QuerySet

from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.managed.resource import Resource, Row, register
from tenants.models import AuditEvent
from tenants.reports.audit import without_upstreams


class AuditEventResource(Resource):
    model = AuditEvent
    area = Area.AUDIT
    rights = frozenset({"view"})
    fixed = ()

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        rows = super().visible(who, rows)
        if who.sees_all_tenants:
            return rows
        return without_upstreams(rows, who.aliases_only)


AUDIT_EVENTS = register(AuditEventResource())
