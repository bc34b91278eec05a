"""show_task: one task, how far it is, and what came of it."""

from __future__ import annotations

from tenants.api.long_work import TaskRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = TaskRows
