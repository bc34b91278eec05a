"""A browser, and a gateway that is really served. Each test has people and a browser profile of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.processes import free_port
from tests.e2e import pictures
from tests.e2e.person import Person
from tests.processes.served import Served, environment, manage, shell
from tests.support import identity_provider
from tests.support.identity_provider import Provider
from tests.support.patience import GIVE_UP_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PEOPLE = """
import json
from tenants.access.access import OPERATOR
from tenants.members import accounts
made = [accounts.create_operator(OPERATOR, f"operator-{number}") for number in range(20)]
print(json.dumps([[user.username, password.reveal()] for user, password in made]))
"""
SANDBOX_PORT = free_port()
# The first of them has no windows, and takes half of the processor time of the others.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


present: set[Person] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take a picture of what each person sees whose test fails."""
    report = yield
    if call.when == "call" and report.failed:
        for person in present:
            with suppress(Exception):  # which would hide why it failed
                pictures.take(person.page, f"failed-{item.name}-{person.name}", has_failed=True)
        present.clear()
    return report


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        message = f"no browser: none of {', '.join(PROGRAMS)} is installed (Debian: chromium-headless-shell)"
        if os.environ.get("TOLLGATE_TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # dear, and for these tests only

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, timeout=GIVE_UP_SECONDS * 1000
        )
        yield launched
        launched.close()


def alone(data_dir: Path) -> dict[str, str]:
    """Return an environment whose sandbox is that of no other gateway on this machine."""
    return environment(data_dir, TOLLGATE_SANDBOX_PORT=str(SANDBOX_PORT))


@pytest.fixture(scope="session")
def first_boot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A data directory as the first boot leaves it, and what that printed. To be copied."""
    made = tmp_path_factory.mktemp("first-boot")
    told: dict[str, Any] = json.loads(manage(alone(made), "quickstart", "--json"))
    return made, told


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, first_boot: tuple[Path, dict[str, Any]]
) -> Iterator[Served]:
    """A gateway on a database with the sandbox and no people."""
    here = shutil.copytree(first_boot[0], tmp_path_factory.mktemp("e2e") / "data")
    with Served(alone(here)) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with identity_provider.running() as real:
        yield real


@pytest.fixture(scope="session")
def people(served: Served) -> list[list[str]]:
    """Operators nobody is yet, with their passwords: one process makes them all."""
    found: list[list[str]] = shell(served.variables, PEOPLE)
    return found


@pytest.fixture
def operator(browser: Browser, served: Served, people: list[list[str]]) -> Iterator[Person]:
    """An operator before a browser that has never been here."""
    name, password = people.pop()
    with before(browser, served, name, password) as person:
        yield person


@contextmanager
def before(browser: Browser, served: Served, name: str, password: str) -> Iterator[Person]:
    """Somebody before a browser that has never been here."""
    # A name, not the address: a passkey belongs to a host name.
    address = served.root_url.replace("127.0.0.1", "localhost")
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(GIVE_UP_SECONDS * 1000)
    person = Person(context, name, password, served)
    present.add(person)
    yield person
    present.discard(person)
    context.close()
    assert person.complaints == [], "the browser complained"


@contextmanager
def let_in(browser: Browser, served: Served, name: str, cookie: str) -> Iterator[Person]:
    """Somebody who has signed in already, in a browser of their own."""
    with before(browser, served, name, "") as person:
        address = served.root_url.replace("127.0.0.1", "localhost")
        person.context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
        yield person
