"""The world of the console's tests, and the people in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import set_urlconf

from tenants.sign_in import sessions
from tests.console import world as worlds
from tests.console.world import World


@pytest.fixture
def world(db: None) -> World:
    return worlds.make()


@pytest.fixture
def admin(world: World) -> Client:
    """An admin of our tenant."""
    return worlds.staff("admin", world.ours.tenant)


@pytest.fixture
def developer(world: World) -> Client:
    return worlds.staff("developer", world.ours.tenant)


@pytest.fixture
def viewer(world: World) -> Client:
    return worlds.staff("viewer", world.ours.tenant)


@pytest.fixture
def operator(db: None, request: pytest.FixtureRequest) -> Client:
    if "world" in request.fixturenames:  # in an empty database it is a copy
        request.getfixturevalue("world")
    return worlds.operator()


@pytest.fixture
def route_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Serve the routes of a module. Django keeps what it has read of the others, as it does not with
    pytest-django's mark: to read ours again takes it a tenth of a second.
    """

    def serve(module: str) -> None:
        set_urlconf(None)
        monkeypatch.setattr(django_settings, "ROOT_URLCONF", module)

    yield serve
    set_urlconf(None)


@pytest.fixture
def hostile_routes(route_by: Callable[[str], None]) -> None:
    route_by("tests.console.hostile_urls")


@pytest.fixture(autouse=True)
def no_session_is_touched_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page after a minute notes that its session is used, in a query more than one before or after it."""
    monkeypatch.setattr(sessions, "TOUCH_SECONDS", 600)


@pytest.fixture(autouse=True)
def static_files_are_looked_up_when_asked_for(settings) -> None:
    """Every test client makes the middleware anew, which otherwise looks at every static file first."""
    settings.WHITENOISE_AUTOREFRESH = True
