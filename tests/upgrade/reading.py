"""Read an upgraded installation's books. Runs in a process of its own, beside no gateway:
`manage.py shell -c "from tests.upgrade import reading; …"`.

`tell` in making/rows.txt asks the older version for the same.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.management import CommandError, call_command

from gateway_project.lib import clock
from responses_api.models import WebhookDelivery
from tenants.billing import credits as prepaid
from tenants.models import BillingPeriod, BudgetLease, BudgetWindow, Invoice, InvoiceLine, Tenant
from tenants.prices import rerating

Json = dict[str, Any]

INVOICE = (
    "id", "tenant__slug", "kind", "state", "number", "subtotal_cents", "credit_cents", "total_cents",
    "canonical", "sha256",
)  # fmt: skip
LINE = (
    "id", "invoice_id", "position", "kind", "alias", "token_class", "tokens", "amount_nano", "amount_cents",
)  # fmt: skip


def books(reports: Iterable[str], until: str, messages: Iterable[Json]) -> Json:
    """Read what is unread, run tasks that were queued, then tell everything. `until`: reports of the running
    month end here."""
    asked("ingest", "--once")
    tasks = run_tasks(messages)
    exported = output("export_usage", "--from", "2026-09-01", "--to", "2027-01-01")
    return {
        "tasks": tasks,
        "rows": [json.loads(line) for line in exported.splitlines()],
        "reports": {name: report(name, until) for name in reports},
        "invoices": plain(Invoice.objects.order_by("id").values(*INVOICE)),
        "lines": plain(InvoiceLine.objects.order_by("id").values(*LINE)),
        "periods": plain(
            BillingPeriod.objects.order_by("id")
            .exclude(state="open")
            .values("tenant__slug", "starts_at", "ends_at", "time_zone", "state")
        ),
        "credit": {tenant.slug: prepaid.balance(tenant.pk) for tenant in Tenant.objects.all()},
        "windows": plain(
            BudgetWindow.objects.order_by("id").values(
                "budget__name", "starts_at", "ends_at", "spent_nano", "reserved_nano"
            )
        ),
        "leases": BudgetLease.objects.count(),
        "rerating": len(list(rerating.differences(clock.now() - timedelta(days=300), clock.now()))),
        "ledger_check": asked("ledger_check"),
        "doctor": asked("doctor"),
        "deliveries": plain(WebhookDelivery.objects.values("event_type", "response_id", "state")),
    }


def report(name: str, until: str) -> Any:
    month, tenant, by = name.split()
    span = ("--month", month)
    if until.startswith(month):
        span = ("--from", f"{month}-01", "--to", until)  # type: ignore[assignment]
    return asked("usage_report", "--tenant", tenant, "--by", by, *span)["rows"]


def run_tasks(messages: Iterable[Json]) -> list[str]:
    """Run what an older version queued, as a worker would; how each task ended."""
    from gateway_project.celery import app  # noqa: PLC0415 - a third of a second, for one test

    app.loader.import_default_modules()  # as a worker does
    ended = []
    for message in messages:
        arguments, named, _ = json.loads(base64.b64decode(message["body"]))
        ended.append(app.tasks[message["headers"]["task"]].apply(arguments, named).state)
    return ended


def asked(command: str, *arguments: str) -> Any:
    """A command's JSON, whatever its exit code."""
    return json.loads(output(command, *arguments, "--json"))


def output(command: str, *arguments: str) -> str:
    out = io.StringIO()
    try:
        call_command(command, *arguments, stdout=out)
    except (CommandError, SystemExit):
        if not out.getvalue():
            raise
    return out.getvalue()


def plain(rows: Iterable[Any]) -> Any:
    return json.loads(json.dumps(list(rows), default=str))
