"""State the rules for tasks: who sees them, and who may move them."""

from __future__ import annotations

from django.db.models import Model, QuerySet

from tenants.access import ownership
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.managed.resource import Resource, Row, register
from tenants.models import LongTask


class LongTaskResource(Resource):
    """Tasks. What an operator asked for may tell more than a tenant's people are shown, so these do not see
    it.
    """

    model = LongTask
    area = Area.USAGE
    rights = frozenset({"view"})
    fixed = ()

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if isinstance(row, LongTask) and row.is_operators and not who.sees_all_tenants:
            return False
        return super().may(who, right, row)

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        seen = super().visible(who, rows)
        return seen if who.sees_all_tenants else seen.filter(is_operators=False)

    def may_confirm(self, who: Access, task: LongTask) -> bool:
        """Tell whether they may let a task change what tenants are charged, or delete what is stored."""
        if task.kind == LongTask.Kind.PURGE:
            return self.may_move(who, task)
        return (Area.BILLING, "change") in who.platform

    def may_move(self, who: Access, task: LongTask) -> bool:
        """Tell whether they may cancel or fetch it: whoever may ask for the same."""
        if not self.may(who, "view", task):
            return False
        if task.kind == LongTask.Kind.RERATING:
            return self.may_confirm(who, task)
        right: Right = "view"
        area = Area.USAGE
        if task.kind == LongTask.Kind.PURGE:
            right, area = "delete", Area.RESPONSES
        return who.may(right, area, ownership.owner_id(task))


TASKS = LongTaskResource()
register(TASKS)
