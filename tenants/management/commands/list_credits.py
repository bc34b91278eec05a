"""list_credits: the credits there are."""

from __future__ import annotations

from tenants.api.use import CreditRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = CreditRows
    columns = ("tenant", "kind", "amount_cents", "reference", "expires_at", "actor", "created_at")
