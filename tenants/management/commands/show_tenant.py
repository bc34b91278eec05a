"""show_tenant: one tenant in whole."""

from __future__ import annotations

from functools import partial

from tenants.access.access import OPERATOR
from tenants.api.accounts import TenantRows, credit_of, figures_of
from tenants.management.rows import ShownPart, ShowRow


class Command(ShowRow):
    rows = TenantRows
    parts = (
        ShownPart(
            "figures", "its keys, members and charge of this month", partial(figures_of, OPERATOR)
        ),
        ShownPart("credit", "what it has in prepaid credit", partial(credit_of, OPERATOR)),
    )
    routes = ("GET tenants/{key}/figures", "GET tenants/{key}/credit")
