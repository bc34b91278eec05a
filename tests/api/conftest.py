"""The world of the console's tests, and tokens of the people in it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from gateway_project.lib import dns_txt
from tests.api.callers import Api, of_operator
from tests.console import world as worlds
from tests.console.world import World


@pytest.fixture
def world(db: None) -> World:
    return worlds.make()


@pytest.fixture
def operator(world: World) -> Api:
    return of_operator()


@pytest.fixture(autouse=True)
def static_files_are_looked_up_when_asked_for(settings: Any) -> None:
    """Every test client makes the middleware anew, which otherwise looks at every static file first."""
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def no_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstreams of the world have names that no resolver is asked about."""
    resolve = socket.getaddrinfo

    def refuse(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    cache.clear()  # how many tests of upstreams there were this minute


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nobody answer for names of other hosts, at once."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    monkeypatch.setattr(dns_txt, "RESOLVERS", tmp_path / "resolv.conf")
    monkeypatch.setattr(dns_txt, "PORT", 1)
