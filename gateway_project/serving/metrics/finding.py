"""Find out what nobody counts: how the processes are, what is in the database and in the spools."""

from __future__ import annotations

import logging
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from django.db import Error, connections
from django.db.models import Count
from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.metrics.names import OTHER
from gateway_project.lib.metrics.process import use_of
from gateway_project.lib.metrics.snapshots import Snapshot
from gateway_project.lib.version import VERSION
from responses_api.models import UNFINISHED, Run, WebhookDelivery
from routing.models import Provider
from tenants.ledger.unread import unread_bytes
from tenants.reports.freshness import freshness

logger = logging.getLogger("tollgate.metrics")

# However often somebody asks, the database is asked no more often.
DATABASE_EVERY_SECONDS = 10.0
MOST_DELIVERIES = 10_000

Values = list[tuple[tuple[str, ...], float]]
Found = dict[str, Values]


class _Answer(Struct, frozen=True):
    """The database's last answer; `providers` are the platform's."""

    at: float
    values: Found
    providers: frozenset[int]


class Finder:
    """Finds out what is so at this moment on this host."""

    def __init__(self, spools: Path) -> None:
        self._spools = spools
        self._answer: _Answer | None = None

    def find(self, living: Sequence[Snapshot]) -> Found:
        """Return values by the name of their family; `living` are the processes' own reports."""
        answer = self._asked()
        return {
            "tollgate_build_info": [((VERSION, platform.python_version()), 1)],
            "tollgate_processes": _labelled(Counter(each.kind for each in living)),
            "tollgate_ready": _ready(living),
            "tollgate_in_flight": _in_flight(living),
            "tollgate_circuit_state": _circuits(living, answer.providers),
            **_processes(living),
            **answer.values,
        }

    def _asked(self) -> _Answer:
        now = clock.monotonic()
        known = self._answer
        if known is None or now - known.at >= DATABASE_EVERY_SECONDS:
            known = self._answer = self._ask(now)
        return known

    def _ask(self, now: float) -> _Answer:
        try:
            found = _from_database(self._spools)
            providers = frozenset(Provider.objects.filter(tenant=None).values_list("pk", flat=True))
        except (Error, OSError) as error:
            logger.warning("metrics are told without those of the database: %s", error)
            return _Answer(now, {"tollgate_database_up": [((), 0)]}, frozenset())
        finally:
            connections.close_all()  # of this thread, which may not come again
        return _Answer(now, found, providers)


def _from_database(spools: Path) -> Found:
    at = clock.now()
    runs = (
        Run.objects.filter(status__in=UNFINISHED)
        .order_by()
        .values_list("status")
        .annotate(count=Count("pk"))
    )
    counted = {str(state): 0 for state in UNFINISHED} | dict(runs)
    pending = WebhookDelivery.objects.filter(state=WebhookDelivery.State.PENDING).order_by()
    return {
        "tollgate_database_up": [((), 1)],
        "tollgate_spool_lag_bytes": [((), unread_bytes(spools))],
        "tollgate_ledger_lag_seconds": [((), freshness(at).lag(at).total_seconds())],
        "tollgate_background_runs": _labelled(counted),
        "tollgate_webhook_deliveries_pending": [((), pending[:MOST_DELIVERIES].count())],
    }


def _labelled(counted: dict[str, int]) -> Values:
    return [((name,), count) for name, count in sorted(counted.items())]


def _in_flight(living: Sequence[Snapshot]) -> Values:
    counted = Counter({"request": 0, "stream": 0, "socket": 0, "background": 0, "waiting": 0})
    for snapshot in living:
        counted.update(snapshot.in_flight)
    return _labelled(counted)


def _ready(living: Sequence[Snapshot]) -> Values:
    """Return what all workers find in order. A background worker accepts nothing anyway."""
    checks: dict[str, bool] = {}
    for snapshot in living:
        if snapshot.kind == "worker":
            for check, is_good in snapshot.ready.items():
                checks[check] = checks.get(check, True) and is_good
    return [((check,), int(is_good)) for check, is_good in sorted(checks.items())]


def _circuits(living: Sequence[Snapshot], providers: frozenset[int]) -> Values:
    """Return the worst that any process knows of a circuit. Providers of tenants are named to nobody."""
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for snapshot in living:
        for kind, provider_id, provider, model, state in snapshot.circuits:
            is_ours = provider_id in providers
            labels = (provider, model, kind) if is_ours else (OTHER, OTHER if model else "", kind)
            found[labels] = max(found[labels], state)
    return sorted(found.items())


def _processes(living: Sequence[Snapshot]) -> Found:
    cpu: Values = []
    resident: Values = []
    started: Values = []
    for number, snapshot in enumerate(sorted(living, key=lambda each: (each.process, each.pid))):
        use = use_of(snapshot.pid)
        if use is None or use.started_ticks != snapshot.started:
            continue  # it has ended, or lives where its number means nothing here
        label = (_told_apart(snapshot, living, number),)
        cpu.append((label, use.cpu_seconds))
        resident.append((label, use.resident_bytes))
        started.append((label, use.started_at))
    return {
        "tollgate_process_cpu_seconds_total": cpu,
        "tollgate_process_resident_bytes": resident,
        "tollgate_process_start_time_seconds": started,
    }


def _told_apart(snapshot: Snapshot, living: Sequence[Snapshot], number: int) -> str:
    """Return the name of a process, with a number where several have the same."""
    is_alone = sum(each.process == snapshot.process for each in living) == 1
    return snapshot.process if is_alone else f"{snapshot.process}-{number + 1}"
