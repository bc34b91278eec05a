"""`python -m bench.ledger`: what a large ledger costs on PostgreSQL, as one table and in partitions by month.

TOLLGATE_PROOF_ROWS (10 million) are made inside two databases of the server in DATABASE_URL, one of either
kind, which are dropped in the end. Both are asked the same; booking is measured in turns. The exit code is 1
where the books do not agree or a row that should stay has gone, and with a million rows or more also where
booking costs over 5 % more in partitions.

Processor time is that of this process and of the server's process behind its connection.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROWS = int(os.environ.get("TOLLGATE_PROOF_ROWS", "10_000_000"))
MONTHS = 13
TENANTS = 20
CLOSED = 3
BATCH = 500
MOST_MORE = 1.05
PLAIN, MONTHLY = KINDS = ("one table", "by month")
_TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--batches", type=int, default=200, help="of 500 rows, booked into either")
    parser.add_argument("--months", type=int, default=MONTHS, help="over which they are spread")
    parser.add_argument("--like", default="template1", help="a database to begin with")
    options = parser.parse_args(arguments)
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        parser.error("DATABASE_URL must name a PostgreSQL; `make services` starts one")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    os.environ["TOLLGATE_LOG_LEVEL"] = "ERROR"
    import django  # noqa: PLC0415  # after the variables

    django.setup()
    with databases(options.like) as names:
        figures = measure(names, options.rows, options.batches, options.months)
    print(json.dumps(figures, indent=1, default=str))
    more = figures["booking"]["by month / one table"]
    agree = not any(figures[kind]["the books differ"] for kind in KINDS)
    return 0 if agree and (more <= MOST_MORE or options.rows < 1_000_000) else 1


# Databases


@contextmanager
def databases(like: str) -> Iterator[dict[str, str]]:
    """Two databases of our own, copies of that one: their names by kind."""
    names = {kind: f"tollgate_proof_{os.getpid()}_{kind[-5:].strip()}" for kind in KINDS}
    try:
        for name in names.values():
            _administer(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        yield names
    finally:
        _close()
        for name in names.values():
            _administer(f'DROP DATABASE IF EXISTS "{name}"')


def _administer(statement: str) -> None:
    import psycopg  # noqa: PLC0415

    with closing(psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)) as connection:
        connection.execute(statement.encode())


def use(name: str) -> None:
    from django.db import connection  # noqa: PLC0415

    if connection.settings_dict["NAME"] != name:
        _close()
        connection.settings_dict["NAME"] = name


def _close() -> None:
    from django.db import connection  # noqa: PLC0415

    connection.close()


def sql(statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(statement, list(parameters) or None)
        return cursor.fetchall() if cursor.description else []


# Meters


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return round((time.perf_counter() - began) * 1000, 2)


def processor_seconds(backend: int) -> float:
    fields = Path(f"/proc/{backend}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / _TICKS


def explained(rows: Any, times: int = 7) -> dict[str, float]:
    """Median milliseconds of planning and of execution, as the server measures them."""
    plans = [rows.explain(analyze=True) for _ in range(times)]
    found = [[float(ms) for ms in re.findall(r"Time: ([\d.]+) ms", plan)] for plan in plans]
    return {
        "planning ms": median(times[0] for times in found),
        "execution ms": median(times[-1] for times in found),
    }


# What is measured


def measure(names: dict[str, str], rows: int, batches: int, months: int) -> Figures:
    now = datetime.now(UTC)
    this_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    first = this_month - timedelta(days=30 * months - 5)
    figures: Figures = {"rows": rows}
    for kind in KINDS:
        use(names[kind])
        print(f"{kind}: filling", file=sys.stderr, flush=True)
        figures[kind] = {"fill": prepare(kind, rows, first, now)}
    figures["booking"] = booking(names, batches)
    for kind in KINDS:
        use(names[kind])
        print(f"{kind}: measuring", file=sys.stderr, flush=True)
        figures[kind] |= questions(first, now) | closing_of_months() | retention(now)
    use(names[PLAIN])
    figures["conversion"] = conversion()
    return figures


def prepare(kind: str, rows: int, first: datetime, now: datetime) -> Figures:
    from django.core.management import call_command  # noqa: PLC0415

    from gateway_project.lib import clock  # noqa: PLC0415
    from tenants.ledger import partitions  # noqa: PLC0415
    from tenants.models import Tenant  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    _migration().unite(None, _editor())
    if kind == MONTHLY:
        present = clock.timestamp
        clock.timestamp = first.timestamp
        _migration().divide(None, _editor())
        clock.timestamp = present
        for _ in partitions.make_ahead():
            pass
    for number in range(TENANTS):
        Tenant.objects.create(slug=f"t{number}", name=f"T{number}", created_at=first)
    figures: Figures = {"insert ms": timed(lambda: fill(rows, first, now))}
    # As autovacuum does it, which never looks at a table of partitions itself.
    tables = [one.name for one in partitions.in_order()] or [partitions.TABLE]
    figures["vacuum ms"] = timed(lambda: [sql(f'VACUUM ANALYZE "{table}"') for table in tables])
    figures["partitions"] = len(partitions.in_order())
    return figures | sizes()


def _migration() -> Any:
    from tenants import migrations  # noqa: PLC0415

    (path,) = Path(migrations.__path__[0]).glob("*_usage_by_month.py")
    return importlib.import_module(f"tenants.migrations.{path.stem}")


def _editor() -> Any:
    from django.db import connection  # noqa: PLC0415

    return connection.schema_editor()


def fill(rows: int, first: datetime, until: datetime) -> None:
    """Insert rows with the ids their times make, spread over tenants, keys and aliases."""
    from django.db import connection  # noqa: PLC0415

    from tenants.models import Tenant, UsageRow  # noqa: PLC0415

    least = min(Tenant.objects.values_list("pk", flat=True))
    made = {
        "id": "(lpad(to_hex(ms), 12, '0') || '7' || left(h, 3) || '8' || right(h, 11) || '0000')::uuid",
        "leg": "0",
        "tenant_id": f"{least} + i %% {TENANTS}",
        "tenant_slug": f"'t' || i %% {TENANTS}",
        "key_id": f"i %% {TENANTS * 3}",
        "key_public_id": f"'key' || i %% {TENANTS * 3}",
        "route": "'responses'",
        "alias": "'alias-' || i %% 2",
        "provider": "'openai'",
        "upstream_model": "'gpt-5-2026'",
        "service_tier": "'default'",
        "status": "'completed'",
        "http_status": "200",
        "usage_source": "'provider'",
        "opened_at": "to_timestamp(ms / 1000.0)",
        "recorded_at": "to_timestamp(ms / 1000.0 + 1)",
        "input_fresh": "900 + i %% 100",
        "output_visible": "200 + i %% 50",
        "cost_version": "1",
        "charge_version": "1",
        "cost_nano": "5000",
        "charge_nano": "10000 + i %% 100",
        "charge_input_fresh": "2000 + i %% 100",
        "charge_output_visible": "8000",
        "spool": "'host.1.abcdef'",
    }
    names, values, parameters = [], [], []
    for field in UsageRow._meta.concrete_fields:
        if field.attname not in made and field.has_db_default() and not field.has_default():
            continue
        names.append(f'"{field.column}"')
        values.append(made.get(field.attname, "%s"))
        if field.attname not in made:
            parameters.append(field.get_db_prep_save(field.get_default(), connection))
    start, span = int(first.timestamp() * 1000), int((until - first).total_seconds() * 1000)
    source = (
        f"SELECT i, {start} + (i * {span}::bigint / {rows}) AS ms, md5(i::text) AS h "
        f"FROM generate_series(0, {rows - 1}::bigint) AS i"
    )
    sql(
        f"INSERT INTO tenants_usagerow ({', '.join(names)}) SELECT {', '.join(values)} FROM ({source}) s",
        parameters,
    )


def sizes() -> Figures:
    query = (
        "SELECT sum(pg_table_size(c.oid)), sum(pg_indexes_size(c.oid)) FROM pg_class c "
        "WHERE relname LIKE 'tenants_usagerow%' AND relkind = 'r'"
    )
    ((table, indexes),) = sql(query)
    return {"table MB": round(table / 2**20), "indexes MB": round(indexes / 2**20)}


def booking(names: dict[str, str], batches: int) -> Figures:
    """Book the same calls into both, in turns: processor and wall time of a row, medians of all batches."""
    for kind in KINDS:
        use(names[kind])
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    rounds = 20
    for turn in range(rounds):
        for kind in KINDS if turn % 2 else reversed(KINDS):
            use(names[kind])
            found[kind].append(_book(max(batches // rounds, 1)))
    figures: Figures = {}
    for kind in KINDS:
        figures[kind] = {
            "processor µs a row": round(median(cpu for cpu, _ in found[kind]), 1),
            "wall µs a row": round(median(wall for _, wall in found[kind]), 1),
        }
    plain, monthly = (figures[kind]["processor µs a row"] for kind in KINDS)
    return figures | {"by month / one table": round(monthly / plain, 3)}


def _book(batches: int) -> tuple[float, float]:
    from gateway_project.lib.db import durable_transaction  # noqa: PLC0415
    from tenants.ledger.booking import book  # noqa: PLC0415

    ((backend,),) = sql("SELECT pg_backend_pid()")
    book(_calls(10), "warm-up")
    calls = [_calls(BATCH) for _ in range(batches)]
    began, began_cpu = time.perf_counter(), processor_seconds(backend)
    for batch in calls:
        with durable_transaction():
            book(batch, "host.1.abcdef")
    rows = batches * BATCH
    return (
        (processor_seconds(backend) - began_cpu) / rows * 1e6,
        (time.perf_counter() - began) / rows * 1e6,
    )


def _calls(count: int) -> list[Any]:
    from tenants.ledger.open_calls import settled  # noqa: PLC0415
    from tests.tenants.ledger import conftest as records  # noqa: PLC0415

    opened = [records.opened(tenant_id=1 + n % TENANTS, key_id=0) for n in range(count)]
    return [settled(call, records.settled(call)) for call in opened]


def questions(first: datetime, now: datetime) -> Figures:
    from django.db.models import OuterRef, Subquery  # noqa: PLC0415

    from gateway_project.lib import ids  # noqa: PLC0415
    from tenants.billing import rollups, selfcheck  # noqa: PLC0415
    from tenants.models import Tenant, UsageRow  # noqa: PLC0415

    name = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("name")
    page = UsageRow.objects.annotate(owner_name=Subquery(name[:1])).order_by("-opened_at", "-pk")
    tenant = Tenant.objects.order_by("pk")[3]
    month, hour = now - timedelta(days=45), now - timedelta(days=45, hours=1)
    some = list(UsageRow.objects.filter(opened_at__gte=month).values_list("pk", flat=True)[:BATCH])
    at = month.replace(minute=0, second=0, microsecond=0)
    one_hour = UsageRow.objects.filter(tenant=tenant, opened_at__gte=hour, opened_at__lt=month)
    figures: Figures = {
        "console, first page": explained(page[:100]),
        "console, first page of a tenant": explained(page.filter(tenant=tenant)[:100]),
        "console, an old page": explained(page.filter(opened_at__lt=month)[:100]),
        "rows of a request": explained(
            UsageRow.objects.filter(pk__gte=ids.first_uuid7(at), pk__lte=ids.first_uuid7(at))
        ),
        "are 500 rows there": explained(UsageRow.objects.filter(pk__in=some).values_list("pk")),
        "corrections of a row": explained(UsageRow.objects.filter(corrects=some[0])),
        "an hour of a tenant": explained(one_hour),
        "all sums made anew ms": timed(rollups.rebuild),
        "sums of a day made anew ms": median(
            timed(lambda: rollups.rebuild(at.replace(hour=0), at.replace(hour=1))) for _ in range(5)
        ),
    }
    print(page.filter(tenant=tenant)[:100].explain(analyze=True), file=sys.stderr)
    figures["ledger_check ms"] = timed(lambda: figures.update(found=selfcheck.examine()))
    figures["the books differ"] = figures.pop("found")
    return figures


def closing_of_months() -> Figures:
    """Close and issue all months of some tenants; how long one closing takes."""
    from gateway_project.lib import clock  # noqa: PLC0415
    from tenants.billing import invoices, periods  # noqa: PLC0415
    from tenants.models import BillingPeriod, Tenant  # noqa: PLC0415

    took = []
    for tenant in Tenant.objects.order_by("pk")[:CLOSED]:
        periods.ensure(tenant, clock.now())
        over = BillingPeriod.objects.filter(tenant=tenant, ends_at__lte=clock.now())
        for period in over.order_by("starts_at"):
            took.append(timed(partial(periods.close, period, force=True)))
            invoices.issue(tenant)
    return {"closing a month ms": {"median": median(took), "last": took[-1], "of": len(took)}}


def retention(now: datetime) -> Figures:
    """Let go of the first month: in steps, as the periodic job does it, and the longest of them."""
    from tenants.billing.retention import RowPurge  # noqa: PLC0415
    from tenants.models import RetentionHorizon, UsageHour, UsageRow  # noqa: PLC0415

    ((oldest,),) = sql("SELECT min(opened_at) FROM tenants_usagerow")
    before = (oldest + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    RetentionHorizon.objects.create(table="usage", before=before)
    count = UsageRow.objects.filter(opened_at__lt=before).count()
    kept = UsageRow.objects.filter(opened_at__gte=before).count()
    steps = list(_step_times(RowPurge(before)))
    assert UsageRow.objects.count() == kept
    hours = UsageHour.objects.filter(starts_at__lt=before).order_by("starts_at").values("pk")[:2000]
    return {
        "retention of a month": {
            "rows": count, "steps": len(steps), "all ms": round(sum(steps)), "longest ms": max(steps),
        },
        "after retention": sizes(),
        "hours": UsageHour.objects.count(),
        "2,000 hours deleted by time ms": timed(
            lambda: UsageHour.objects.filter(pk__in=list(hours.values_list("pk", flat=True))).delete()
        ),
    }  # fmt: skip


def _step_times(work: Any) -> Iterator[float]:
    is_more = True
    while is_more:
        began = time.perf_counter()
        is_more = work.step()
        yield round((time.perf_counter() - began) * 1000, 2)


def conversion() -> Figures:
    """Turn the one table into partitions, which is what an upgrade does, and back; and fill a month with what
    the default partition has of it."""
    from django.db import connection, transaction  # noqa: PLC0415

    from tenants.ledger import partitions  # noqa: PLC0415
    from tenants.models import UsageRow  # noqa: PLC0415

    rows, migration, bounds = UsageRow.objects.count(), _migration(), []
    with connection.cursor() as cursor:
        end = migration._bound(migration._newest(cursor))
        check = timed(lambda: bounds.append(migration._check(cursor, end)))
        with transaction.atomic():
            attach = timed(lambda: migration._attach(cursor, bounds[0]))
    for _ in partitions.make_ahead():
        pass
    beyond = partitions.missing_months(datetime.now(UTC), partitions.MONTHS_AHEAD + 1)[-1]
    some = min(rows // 10, 1_000_000)
    fill(some, beyond, beyond + timedelta(days=27))
    figures = {
        "rows": rows,
        "reading the table, beside others, ms": check,
        "exclusively, ms": attach,
        "moving rows from the default partition ms": timed(lambda: partitions.make(beyond)),
        "which were": some,
        "back to one table, by copying, ms": timed(lambda: migration.unite(None, _editor())),
    }
    assert UsageRow.objects.count() == rows + some
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
