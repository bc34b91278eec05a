"""Two workers with a Redis: the console shows what both run, and stops a call of either, while its socket and
the calls go on beside one another.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.conftest import alone, let_in
from tests.e2e.person import Person
from tests.plugins.tiers import by_tier
from tests.processes.served import Served, eventually, shell
from tests.support.patience import GIVE_UP_SECONDS, promised
from tests.support.redis_server import PROGRAM, RedisServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PEOPLE = """
import json
from tenants.keys import keys
from tenants.models import Tenant
from django.contrib.auth.models import User
from tests.support import console_session
_, secret = keys.create(Tenant.objects.get(slug="default"), "streams")
print(json.dumps([secret.reveal(), console_session.sign_in(User.objects.create_superuser("watcher")).cookie]))
"""
MOST_STREAMS = 12
PACE_MS = 200
# A piece is an event: two lines and an empty one.
LINES_OF_30_SECONDS = 3 * 30_000 // PACE_MS
ENDED = re.compile(r"Ended after ([\d,]+) ms: [\d,]+ tokens, ")


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    found = RedisServer(tmp_path)
    found.start()
    yield found
    found.stop()


class Streams:
    """Calls that stream until they are stopped, or left; `ended` is how many were told that they are."""

    def __init__(self, served: Served, secret: str) -> None:
        self._served, self._secret = served, secret
        self._threads: list[threading.Thread] = []
        self.is_left = threading.Event()
        self.pieces = 0
        self.stopped = 0

    def begin(self) -> None:
        caller = threading.Thread(target=self._run)
        self._threads.append(caller)
        caller.start()

    def end(self) -> None:
        self.is_left.set()
        for caller in self._threads:
            caller.join(GIVE_UP_SECONDS)

    def __len__(self) -> int:
        return len(self._threads)

    def _run(self) -> None:
        body = {
            "model": "sandbox-responses",
            "input": f"[chunks=1000000] [pace={PACE_MS}]",
            "stream": True,
        }
        with httpx.stream(
            "POST",
            f"{self._served.root_url}/v1/responses",
            headers={"authorization": f"Bearer {self._secret}"},
            json=body,
            timeout=GIVE_UP_SECONDS,
            trust_env=False,
        ) as answer:
            for line in answer.iter_lines():
                self.pieces += 1
                if "This request was stopped" in line:
                    self.stopped += 1
                if self.is_left.is_set():
                    return


def opens_stop_page(person: Person, worker: str) -> bool:
    """Open the page that stops a call of this worker, which on a busy machine may be late to tell of it."""
    person.open("/console/in-flight/")
    rows = person.page.locator("[data-in-flight] tbody tr", has_text=worker)
    # By their addresses: the list is drawn anew while somebody is about to click.
    links = rows.get_by_role("link", name="Stop", exact=True)
    addresses = links.evaluate_all("(found) => found.map((each) => each.href)")
    if not addresses:
        return False
    person.open(addresses[0])
    return person.page.get_by_role("button", name="Stop it").count() == 1


def test_calls_of_both_workers_are_seen_and_stopped_beside_an_open_socket(
    browser: Browser,
    first_boot: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    private_redis: RedisServer,
) -> None:
    variables = {
        **alone(shutil.copytree(first_boot[0], tmp_path / "data")),
        "REDIS_URL": private_redis.url,
    }
    secret, cookie = shell(variables, PEOPLE)
    with (
        Served(variables, "--workers", "2") as served,
        let_in(browser, served, "operator", cookie) as person,
    ):
        page, streams = person.page, Streams(served, secret)
        person.open("/console/")  # asks for a second factor once
        person.open("/console/in-flight/")
        workers = page.locator("[data-in-flight] tbody [data-cell=worker]")

        def both_are_seen() -> bool:
            """Begin one stream more, on a connection that either may get."""
            if len(streams) < MOST_STREAMS:
                streams.begin()
            page.wait_for_timeout(1_000)  # the open page is told every two seconds
            return len(set(workers.all_inner_texts())) == 2

        try:
            eventually(both_are_seen)
            page.get_by_text("2 of 2 workers answered.").wait_for()
            person.picture("in-flight-two-workers")
            so_far = streams.pieces
            more = by_tier(default=100, ci=100, proof=LINES_OF_30_SECONDS * len(streams))
            eventually(lambda: streams.pieces > so_far + more)
            assert page.locator("[data-live-status]").inner_text() == "Live"
            for worker in sorted(set(workers.all_inner_texts())):
                eventually(partial(opens_stop_page, person, worker))
                page.get_by_role("button", name="Stop it").click()
                told = ENDED.search(page.get_by_text(ENDED).inner_text())
                assert told is not None
                assert int(told[1].replace(",", "")) <= 1_000 * promised(1)
            eventually(lambda: streams.stopped == 2)
        finally:
            streams.end()
