"""Prepare and read the gateway's database before and after a run.

It is a program of its own because it needs Django's settings. `prepare PORT NANO` makes what the run
needs and prints the API key; `read` prints what is booked: rows, their sums, the roll-ups' sums, and what
budgets hold.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import orjson

from bench.chaos.accounts import CLASSES
from bench.chaos.rates import CHARGES, COSTS, MODEL

_AMOUNTS = ("charge_nano", "cost_nano", "unfunded_nano", *CLASSES)


def prepare(port: int, budget_nano: int) -> dict[str, Any]:
    """Make what the run needs, with the commands an operator would use."""
    from django.core.management import call_command  # noqa: PLC0415  # after the settings, as what follows

    call_command("migrate", verbosity=0)
    _command("create_tenant", "Chaos", "--slug", "chaos")
    for alias, charge in CHARGES.items():
        provider = f"of-{alias}"
        _command(
            "add_provider", provider, "--protocol", alias.removeprefix("sandbox-"), "--allow-private",
            "--auth", "none", "--base-url", f"http://127.0.0.1:{port}/v1",
        )  # fmt: skip
        _command("add_alias", alias, "--target", f"{provider}/{MODEL}")
        _command("set_price", "--alias", alias, *charge.options)
        _command("set_price", "--provider", provider, "--model", MODEL, *COSTS[alias].options)
    _budget(budget_nano)
    return _command("create_key", "--tenant", "chaos", "--name", "chaos")


def _command(name: str, *arguments: str) -> dict[str, Any]:
    from django.core.management import call_command  # noqa: PLC0415

    said = io.StringIO()
    call_command(name, *arguments, "--json", stdout=said)
    answer: dict[str, Any] = json.loads(said.getvalue())
    return answer


def _budget(amount_nano: int) -> None:
    from tenants.models import Budget, Tenant  # noqa: PLC0415

    Budget.objects.create(
        tenant=Tenant.objects.get(slug="chaos"),
        name="chaos",
        amount_nano=amount_nano,
        period="total",
    )


def read() -> dict[str, Any]:
    from tenants.billing import rollups, selfcheck  # noqa: PLC0415
    from tenants.models import Budget, BudgetLease, UsageDay, UsageHour, UsageRow  # noqa: PLC0415

    while rollups.recompute_dirty():
        pass
    return {
        "rows": [_row(values) for values in _all(UsageRow)],
        "sums": {
            "rows": _sums(UsageRow, calls=UsageRow.objects.count()),
            "hours": _sums(UsageHour, calls=_total(UsageHour, "calls")),
            "days": _sums(UsageDay, calls=_total(UsageDay, "calls")),
        },
        "budget": {
            "amount_nano": _total(Budget, "amount_nano"),
            "spent_nano": _window("spent_nano"),
            "reserved_nano": _window("reserved_nano"),
            "leases": BudgetLease.objects.count(),
        },
        "differences": selfcheck.examine(),
    }


def _all(model: Any) -> list[dict[str, Any]]:
    return list(model.objects.order_by("id").values())


def _row(values: dict[str, Any]) -> dict[str, Any]:
    from tenants.token_classes import TOKEN_CLASSES  # noqa: PLC0415

    return {
        "id": values["id"].hex,
        "marker": values["tags"].get("chaos", "none"),
        "alias": values["alias"],
        "status": values["status"],
        "source": values["usage_source"],
        "tokens": [values[name] for name in CLASSES],
        "other_tokens": sum(values[name] for name in TOKEN_CLASSES if name not in CLASSES),
        "charge_nano": values["charge_nano"],
        "cost_nano": values["cost_nano"],
        "unfunded_nano": values["unfunded_nano"],
    }


def _sums(model: Any, **more: int) -> dict[str, int]:
    return {**{name: _total(model, name) for name in _AMOUNTS}, **more}


def _total(model: Any, column: str) -> int:
    from django.db.models import Sum  # noqa: PLC0415

    return int(model.objects.aggregate(total=Sum(column))["total"] or 0)


def _window(column: str) -> int:
    from tenants.models import BudgetWindow  # noqa: PLC0415

    return _total(BudgetWindow, column)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    import django  # noqa: PLC0415

    django.setup()
    is_before = sys.argv[1] == "prepare"
    sys.stdout.buffer.write(orjson.dumps(prepare(*map(int, sys.argv[2:])) if is_before else read()))


if __name__ == "__main__":
    main()
