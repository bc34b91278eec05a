"""show_alias: one alias in whole."""

from __future__ import annotations

from routing.api.catalogue import AliasRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = AliasRows
