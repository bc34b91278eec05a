"""show_usage_call: one usage call in whole."""

from __future__ import annotations

from tenants.api.use import UsageRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = UsageRows
