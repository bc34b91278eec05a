"""A database is migrated by one process at a time; the others wait."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.db import connection, connections

from gateway_project import migrating
from tests.support.patience import GIVE_UP_SECONDS, until

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]


class Holder:
    """Another process that migrates, as a thread with a connection of its own."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def migrate(self) -> None:
        with migrating.one_at_a_time(lambda: None):
            self.has_begun.set()
            assert self.may_end.wait(GIVE_UP_SECONDS)
        connections.close_all()

    def die(self) -> None:
        with migrating.one_at_a_time(lambda: None):
            connections.close_all()


@pytest.fixture
def holder() -> Iterator[Holder]:
    it = Holder()
    with ThreadPoolExecutor(1) as pool:
        migrates = pool.submit(it.migrate)
        assert it.has_begun.wait(GIVE_UP_SECONDS)
        yield it
        it.may_end.set()
        migrates.result(GIVE_UP_SECONDS)


class Told(io.StringIO):
    """Holds what `migrate` says; the other one ends once it is said."""

    def __init__(self, holder: Holder) -> None:
        super().__init__()
        self._holder = holder

    def write(self, text: str) -> int:
        self._holder.may_end.set()
        return super().write(text)


def test_migrate_waits_until_another_has_ended_and_says_so(holder: Holder) -> None:
    told = Told(holder)

    call_command("migrate", verbosity=0, stderr=told)

    assert told.getvalue() == (
        "Another process is migrating this database; waiting until it has ended.\n"
    )


def test_a_look_at_the_plan_waits_for_nobody(holder: Holder) -> None:
    call_command("migrate", "--plan", verbosity=0, stdout=io.StringIO())
    call_command("migrate", "--check", verbosity=0)

    assert not holder.may_end.is_set()


def is_held() -> bool:
    """Tell whether anybody holds an advisory lock of this database."""
    of_ours = "SELECT oid FROM pg_database WHERE datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = ({of_ours}))"
        )
        return bool(cursor.fetchone()[0])


def test_whoever_dies_while_migrating_keeps_nobody_waiting() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the kernel takes a dead process's locks of files away")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(Holder().die).result(GIVE_UP_SECONDS)
    until(lambda: not is_held())  # once the server has noticed

    with migrating.one_at_a_time(lambda: pytest.fail("waits for a dead process")):
        pass
