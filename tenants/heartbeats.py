"""Keep the signs of life of background processes in the database they all share."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable
from datetime import timedelta

from django.db import Error, connections

from gateway_project.lib import clock
from tenants.models import Heartbeat

logger = logging.getLogger("tollgate.heartbeats")

INGESTER = "ingester"
BEAT = "beat"
EVERY_SECONDS = 10.0
ALIVE_FOR = timedelta(seconds=60)
FORGET_AFTER = timedelta(days=1)  # hosts come and go


def worker_of(queue: str) -> str:
    """Return the role of background workers that take tasks from this queue."""
    return f"worker:{queue}"


class Pulse:
    """Beats for a process; `beat` may be called as often as one likes."""

    def __init__(self, *roles: str) -> None:
        self._roles = roles
        self._host = host_name()
        self._next_at = float("-inf")

    def beat(self) -> None:
        """Write the sign of life when it is due. An unavailable database is no reason to fail."""
        if clock.monotonic() < self._next_at:
            return
        self._next_at = clock.monotonic() + EVERY_SECONDS
        try:
            self._write()
        except Error as error:
            logger.debug("the heartbeat could not be written: %s", error)

    def _write(self) -> None:
        now = clock.now()
        for role in self._roles:
            mine = Heartbeat.objects.filter(role=role, host=self._host)
            if not mine.update(beat_at=now):
                Heartbeat.objects.filter(beat_at__lt=now - FORGET_AFTER).delete()
                new = Heartbeat(role=role, host=self._host, beat_at=now)
                Heartbeat.objects.bulk_create([new], ignore_conflicts=True)


def beat_in_background(*roles: str) -> None:
    """Beat from a thread of its own for as long as this process lives."""
    threading.Thread(target=_beat_on, args=(Pulse(*roles),), name="heartbeat", daemon=True).start()


def _beat_on(pulse: Pulse) -> None:
    wait = threading.Event()
    while True:
        try:
            pulse.beat()
        finally:
            connections.close_all()
        wait.wait(EVERY_SECONDS)


def host_name() -> str:
    return socket.gethostname()[:200]


def missing(queues: Iterable[str], *, tasks: str, here: str = "") -> list[str]:
    """Return a sentence for each process that should run and shows no sign of life.

    `here`: a host whose own ingester is checked, too.
    """
    alive = Heartbeat.objects.filter(beat_at__gte=clock.now() - ALIVE_FOR)
    return missing_among(alive.values_list("role", "host"), queues, tasks=tasks, here=here)


def missing_among(
    alive: Iterable[tuple[str, str]], queues: Iterable[str], *, tasks: str, here: str = ""
) -> list[str]:
    """Return the same, of roles and hosts that show signs of life."""
    hosts_of: dict[str, set[str]] = {}
    for role, host in alive:
        hosts_of.setdefault(role, set()).add(host)
    found = _missing_programs(hosts_of, queues) if tasks == "celery" else []
    workers = {
        host for role, hosts in hosts_of.items() if role.startswith("worker:") for host in hosts
    }
    need_ingester = workers | ({here} if here else set())
    return found + [
        f"No ingester has shown a sign of life on {host!r} for a minute: usage written down there does not "
        "get into the ledger. serve has one; run manage.py ingest on hosts that only run background_worker."
        for host in sorted(need_ingester - hosts_of.get(INGESTER, set()))
    ]


def _missing_programs(hosts_of: dict[str, set[str]], queues: Iterable[str]) -> list[str]:
    found = [
        f"No background worker serves the queue {queue!r}: run manage.py background_worker."
        for queue in queues
        if worker_of(queue) not in hosts_of
    ]
    if BEAT not in hosts_of:
        found.append("Nothing sends the periodic tasks: run manage.py beat.")
    return found
