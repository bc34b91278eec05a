"""`python -m bench.audit`: what the audit log costs who writes, and who reads a large one, on PostgreSQL.

In a database of its own on the server in DATABASE_URL, which is dropped in the end: writers in threads, each
with a connection, save memberships of one tenant, or each of a tenant of its own, with and without the log;
then the console's questions are asked of as many events as `--events` says. Times are milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

SAVES = 200
Figures = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        parser.error("DATABASE_URL must name a PostgreSQL; `make services` starts one")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    os.environ["TOLLGATE_LOG_LEVEL"] = "ERROR"
    import django  # noqa: PLC0415  # after the variables

    django.setup()
    with database():
        figures = {"writers": writing(), "a large log": reading(options.events)}
    print(json.dumps(figures, indent=1))
    return 0


@contextmanager
def database() -> Iterator[None]:
    """Make a database, and let this process's connections lead there."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection, connections  # noqa: PLC0415

    name, server = f"tollgate_audit_{os.getpid()}", connection.settings_dict["NAME"]
    _run(f'CREATE DATABASE "{name}"')
    connections.close_all()
    connections.settings["default"]["NAME"] = connection.settings_dict["NAME"] = name
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connections.close_all()
        connection.settings_dict["NAME"] = server
        _run(f'DROP DATABASE "{name}" WITH (FORCE)')


def _run(statement: str) -> None:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(statement)


# Writers


def writing() -> Figures:
    return {
        f"{writers} writers, {chains} chains": {
            "with the log": _save(writers, chains),
            "without": _unlogged(writers, chains),
        }
        for writers, chains in ((1, 1), (8, 1), (8, 8))
    }


def _unlogged(writers: int, chains: int) -> Figures:
    from tenants.audit import registry  # noqa: PLC0415
    from tenants.models import Membership  # noqa: PLC0415

    told = registry._by_model.pop(Membership)
    signals = _silence(Membership)
    try:
        return _save(writers, chains)
    finally:
        registry._by_model[Membership] = told
        signals()


def _silence(model: Any) -> Callable[[], None]:
    """Disconnect the log's receivers; return what connects them again."""
    from django.db.models.signals import post_save, pre_delete, pre_save  # noqa: PLC0415

    from tenants.audit import changes  # noqa: PLC0415

    for signal in (pre_save, post_save, pre_delete):
        signal.disconnect(sender=model, dispatch_uid="audit")
    return changes.connect


def _save(writers: int, chains: int) -> Figures:
    """Let each writer change the role of a member again and again: one row, one transaction, one event."""
    took: list[float] = []
    members = [_member(number % chains) for number in range(writers)]
    started = time.perf_counter()
    threads = [threading.Thread(target=_write, args=(member, took)) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    took.sort()
    return {
        "saves a second": round(len(took) / seconds),
        "p50": round(median(took) * 1000, 2),
        "p99": round(took[int(len(took) * 0.99)] * 1000, 2),
    }


def _member(tenant: int) -> Any:
    from django.contrib.auth.models import User  # noqa: PLC0415

    from gateway_project.lib import ids  # noqa: PLC0415
    from tenants.models import Membership, Tenant  # noqa: PLC0415

    owner, _ = Tenant.objects.get_or_create(slug=f"t{tenant}", defaults={"name": f"T{tenant}"})
    return Membership.objects.create(tenant=owner, user=User.objects.create_user(ids.base62(12)))


def _write(member: Any, took: list[float]) -> None:
    from django.db import connections  # noqa: PLC0415

    for number in range(SAVES):
        member.role = ("viewer", "developer")[number % 2]
        started = time.perf_counter()
        member.save()
        took.append(time.perf_counter() - started)
    connections.close_all()


# Readers

TO_JOIN = 20_000
# Of twenty chains; the last one's are not joined yet.
_FILL = """
INSERT INTO tenants_auditevent (id, chain, tenant_id, sequence, at, actor_kind, actor_id, actor_name, address,
 reason, action, object_type, object_id, object_name, changes, details, previous_hash, hash)
SELECT (lpad(to_hex(1780000000000 + n * 20), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
 n %% 20, nullif(n %% 20, 0), 1000000 + n / 20, to_timestamp(1780000000 + n * 0.02), 'person', n / 7 %% 200,
 'person-' || n / 7 %% 200, '192.0.2.7', '',
 (ARRAY['api_key.changed', 'budget.changed', 'response.read', 'membership.created'])[1 + n / 20 %% 4],
 'api_key', n / 3 %% 5000, 'some name ' || n, '{"name":["before","after"]}', '{}',
 repeat('0', 64), repeat('0', 64)
FROM generate_series(100, %s) n
"""
_UNJOINED = """
INSERT INTO tenants_auditevent (id, chain, tenant_id, at, actor_kind, actor_id, actor_name, address,
 reason, action, object_type, object_id, object_name, changes, details, previous_hash, hash)
SELECT (lpad(to_hex(1770000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, 99, 99,
 now(), 'person', '1', 'ann', '', '', 'api_key.changed', 'api_key', n,
 'some name ' || n, '{"name":["before","after"]}', '{}', '', '' FROM generate_series(1, %s) n
"""


def reading(count: int) -> Figures:
    from tenants.audit import chain, verifying  # noqa: PLC0415

    _fill(_UNJOINED, TO_JOIN)
    joining = _timed(lambda: chain.join_chain(99))
    found: list[Any] = []
    verifying_it = _timed(lambda: found.append(verifying.verify(99)))
    _fill(_FILL, count)
    return {
        "to join an event of many, µs": round(joining / TO_JOIN * 1e6),
        "to verify an event, µs": round(verifying_it / TO_JOIN * 1e6),
        "whole": found[0].is_whole and found[0].last_sequence == TO_JOIN,
        f"lists of {count} events": _lists(),
    }


def _fill(statement: str, count: int) -> None:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute(statement, [count])
        cursor.execute("ANALYZE")


def _lists() -> Figures:
    """Ask as pages do: the whole page, and of it what the database takes for the rows it shows."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from tenants.reports.audit import AuditFilter  # noqa: PLC0415

    User.objects.create_superuser("bench")
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(username="bench"))
    day = datetime.fromtimestamp(1780000000, UTC).replace(hour=0, minute=0, second=0)
    busy = AuditFilter(actor="person-7", action="api_key.changed", end=day + timedelta(days=1))
    questions: dict[str, tuple[str, AuditFilter, list[int] | None]] = {
        "all": ("", AuditFilter(), None),
        "a tenant": ("tenant__id__exact=7", AuditFilter(), [7]),
        "a tenant's action": (
            "tenant__id__exact=7&action=response.read",
            AuditFilter(action="response.read"),
            [7],
        ),
        "an actor": ("actor=person-7", AuditFilter(actor="person-7"), None),
        "an object": ("object=1234", AuditFilter(object_id="1234"), None),
        "an actor, an action, to a day": (
            f"actor=person-7&action=api_key.changed&to={day:%Y-%m-%d}",
            busy,
            None,
        ),
        "nothing": ("action=audit.pruned", AuditFilter(action="audit.pruned"), None),
    }
    return {name: _page(client, *question) for name, question in questions.items()}


def _page(client: Any, query: str, wanted: Any, tenants: list[int] | None) -> Figures:
    from tenants.reports import audit as reports  # noqa: PLC0415

    def ask() -> None:
        assert client.get(f"/console/tenants/auditevent/?{query}").status_code == 200

    rows = reports.filtered(reports.of_tenants(tenants), wanted).order_by("-id")[:100]
    plans = [rows.explain(analyze=True) for _ in range(5)]
    took = [float(re.findall(r"Execution Time: ([\d.]+) ms", plan)[-1]) for plan in plans]
    ask()
    return {
        "page": round(median(_timed(ask) for _ in range(5)) * 1000, 1),
        "page, processor": round(median(_worked(ask) for _ in range(5)) * 1000, 1),
        "its query": median(took),
        "scans": sorted(set(re.findall(r"(?:Index|Seq|Bitmap Heap) Scan[^(]*", plans[0]))),
    }


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _worked(work: Callable[[], object]) -> float:
    """Return the processor's seconds of this process alone; the database's stand in the query's time."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
