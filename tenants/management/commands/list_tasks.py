"""list_tasks: exports, re-ratings, and how far they are."""

from __future__ import annotations

from tenants.api.long_work import TaskRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = TaskRows
    columns = ("kind", "tenant", "state", "done", "expected", "asked_by", "asked_at")
