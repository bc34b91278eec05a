"""One of equal requests at once asks a model; the others wait for it, and do not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from responses_api.cache import answers
from routing.models import Provider
from tests.responses_api.cache.conftest import cached
from tests.support import rows, wire
from tests.support.client import question
from tests.support.patience import until
from tests.support.wire import Wire

each_door = pytest.mark.parametrize("door", ["chat", "responses"])
HELD = "[wait=600000] Hi"  # until the sandbox is told to hurry
FAULTS = ("500", "cut", "error-mid", "clean-eof", "429", "bad-json-body")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as pool:
        yield pool


@pytest.fixture
def reached(gateway) -> Callable[[int], None]:
    """Wait until the sandbox has received so many calls of this test."""
    before = gateway.sandbox.received_calls
    return lambda count: until(lambda: gateway.sandbox.received_calls >= before + count)


def failing(gateway, fault: str, protocol: str = "chat") -> str:
    """Offer an alias that keeps answers, behind which this fault is played."""
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    name = f"bad-{fault}"
    rows.alias(name, (provider, f"sandbox-fault-{fault}"), cache_seconds=600)
    gateway.catch_up()
    return name


@each_door
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_twenty_at_once_are_one_call_upstream(ask, gateway, pool, door, stream):
    asked = [pool.submit(ask, door, "[wait=300] Hi", stream=stream) for _ in range(20)]
    said = sorted(cached(each.result()) for each in asked)

    assert said == ["hit"] * 19 + ["miss"]
    assert len(gateway.sandbox.calls) == 1


def test_those_who_wait_go_on_their_own_if_the_first_one_fails(ask, gateway, pool, in_table):
    model = failing(gateway, "500")
    asked = [pool.submit(ask, "chat", "[wait=200] Hi", model=model) for _ in range(5)]

    assert {each.result().status_code for each in asked} == {502}
    assert len(gateway.sandbox.calls) == 5
    assert not in_table()


def test_those_who_wait_go_on_their_own_if_the_first_ones_client_leaves(
    ask, gateway, kept, pool, reached
):
    body = question("chat", "sandbox-chat", HELD, False, temperature=0)
    first = Wire(gateway.root_url)
    first.send(wire.request("chat", kept, body))
    reached(1)
    others = [pool.submit(ask, "chat", HELD) for _ in range(3)]
    until(lambda: len(gateway.worker.services.registry) == 4)
    first.socket.close()
    reached(2)

    def are_answered() -> bool:
        gateway.sandbox.hurry()  # again and again: who waits may ask later
        return all(each.done() for each in others)

    until(are_answered)
    said = [cached(each.result()) for each in others]
    assert set(said) <= {"miss", "hit"}
    assert 2 <= len(gateway.sandbox.calls) <= 4


def test_who_waits_too_long_asks_by_itself(ask, gateway, pool, reached, monkeypatch):
    monkeypatch.setattr(answers, "WAIT_SECONDS", 0.2)
    slow = pool.submit(ask, "chat", HELD)
    reached(1)
    impatient = pool.submit(ask, "chat", HELD)
    reached(2)
    gateway.sandbox.hurry()

    assert (cached(slow.result()), cached(impatient.result())) == ("miss", "miss")
    assert len(gateway.sandbox.calls) == 2


def test_a_client_that_leaves_while_it_waits_costs_nothing(ask, gateway, kept, pool, reached):
    leader = pool.submit(ask, "chat", HELD)
    reached(1)
    body = question("chat", "sandbox-chat", HELD, False, temperature=0)
    waiting = Wire(gateway.root_url)
    waiting.send(wire.request("chat", kept, body))
    until(lambda: len(gateway.worker.services.registry) == 2)
    waiting.socket.close()
    until(lambda: len(gateway.worker.services.registry) == 1)
    gateway.sandbox.hurry()

    assert cached(leader.result()) == "miss"
    assert len(gateway.sandbox.calls) == 1


@each_door
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_an_answer_that_failed_or_broke_off_is_never_given_again(
    ask, gateway, in_table, door, stream
):
    for fault in FAULTS:
        for protocol in ("chat", "responses"):
            provider = Provider.objects.get(name=f"sandbox-{protocol}")
            name = f"bad-{fault}-{protocol}"
            rows.alias(name, (provider, f"sandbox-fault-{fault}"), cache_seconds=600)
            gateway.catch_up()
            for _ in range(2):
                answer = ask(door, "[after=2] [chunks=9]", model=name, stream=stream)
                assert answer.headers.get("x-tollgate-cache") != "hit", name
    assert not in_table()


@each_door
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
def test_an_answer_cut_by_its_limit_is_never_given_again(
    ask, gateway, in_table, door, stream, protocol
):
    limit = {"max_tokens": 16} if door == "chat" else {"max_output_tokens": 16}
    for _ in range(2):
        answer = ask(door, "[chunks=99]", model=f"sandbox-{protocol}", stream=stream, **limit)
        assert cached(answer) == "miss"
    assert len(gateway.sandbox.calls) == 2
    assert not in_table()
