"""Aliases of the sandbox that keep answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from responses_api.models import CachedAnswer
from routing.models import Alias
from tests.support import client
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer

Ask = Callable[..., httpx.Response]
Json = dict[str, Any]


def keeps(name: str, **fields: Any) -> None:
    """Let an alias keep answers for ten minutes."""
    alias = Alias.objects.get(name=name)
    for field, value in {"cache_seconds": 600, **fields}.items():
        setattr(alias, field, value)
    alias.save()


def cached(answer: httpx.Response) -> str:
    """Return what an answer says of the cache; empty if nothing."""
    assert answer.status_code == 200, answer.text
    said: str = answer.headers.get("x-tollgate-cache", "")
    return said


@pytest.fixture
def kept(gateway: LiveGateway, acme: Customer) -> Customer:
    """The sandbox's aliases, all of which keep answers."""
    for protocol in ("chat", "responses", "anthropic"):
        keeps(f"sandbox-{protocol}")
    gateway.catch_up()
    return acme


@pytest.fixture
def ask(gateway: LiveGateway, kept: Customer) -> Ask:
    """Ask at temperature 0 as acme, or as the customer given first."""

    def asked(
        door: str, said: str = "Hi", *, by: Customer = kept, model: str = "", **given: Any
    ) -> httpx.Response:
        given.setdefault("temperature", 0)
        model = model or f"sandbox-{door}"
        if "text" not in given:  # which is a field of the Responses API, and a name there
            return client.ask(gateway, door, by, model, said, **given)
        with client.client_of(gateway, by) as http:
            return http.post(client.PATHS[door], json=client.question(door, model, said) | given)

    return asked


@pytest.fixture
def in_table(gateway: LiveGateway) -> Callable[[], list[CachedAnswer]]:
    """Return the answers in the database, once all that were kept are there: they are written beside what
    goes on."""

    def written() -> list[CachedAnswer]:
        cache = gateway.worker.state.answer_cache
        until(lambda: gateway.call(lambda: cache.is_resting))
        return list(CachedAnswer.objects.all())

    return written


@pytest.fixture
def forget(gateway: LiveGateway, in_table: Callable[[], object]) -> Callable[[], None]:
    """Let the worker forget what it has at hand, once all of it is written."""

    def forgetting() -> None:
        in_table()
        gateway.call(gateway.worker.state.answer_cache.forget)

    return forgetting
