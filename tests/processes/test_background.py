"""Background responses among processes: made here, followed there, and ended whoever dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from gateway_project.sandbox import SandboxServer
from gateway_project.sandbox.log import LoggedCall
from tests.plugins.services import URLS
from tests.plugins.tiers import by_tier
from tests.processes.cluster import (
    Cluster,
    Place,
    Shared,
    events_in,
    prepare,
    without_signs_of_life,
)
from tests.processes.conftest import new_database
from tests.processes.served import Served, environment, eventually, kill
from tests.support import grammar, wire
from tests.support.client import question
from tests.support.collector import ReadSpan, read
from tests.support.databases import copy_migrated, url_of
from tests.support.patience import GIVE_UP_SECONDS, NOISE_SECONDS, promised
from tests.support.receiver import Receiver
from tests.support.wire import Wire

PACED = "[chunks=25] [pace=40]"
LIVES_SECONDS = by_tier(3.0, 3.0, 0.0)
PROTOCOLS = ("chat", "responses", "anthropic")
SERVER, CLIENT, CONSUMER = 2, 3, 5  # kinds of spans
REDIS_DATABASE = 9  # its queues are of these tests alone

Start = Callable[..., Cluster]

each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def on_sqlite(
    provider: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], str]:
    """The variables of a prepared data directory, and a key's secret."""
    variables = copy_migrated(tmp_path_factory, tmp_path_factory.mktemp("sqlite"))
    return variables, prepare(variables, provider)


@pytest.fixture(scope="module")
def on_postgres(
    provider: SandboxServer, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], str]]:
    """The variables of a prepared place on PostgreSQL, Redis and Celery, and a key's secret."""
    broker = urlsplit(URLS["redis"])._replace(path=f"/{REDIS_DATABASE}").geturl()
    with new_database(like=postgres_template) as name:
        variables = environment(
            tmp_path_factory.mktemp("postgres"),
            DATABASE_URL=url_of(name),
            REDIS_URL=broker,
            TOLLGATE_TASKS="celery",
        )
        yield variables, prepare(variables, provider)


METRICS_TOKEN = "a-token-for-prometheus"
PLACES = ["sqlite", pytest.param("celery", marks=[pytest.mark.postgres, pytest.mark.redis])]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, provider: SandboxServer) -> Place:
    """The place where the servers of a test keep everything."""
    is_celery = request.param == "celery"
    variables, secret = request.getfixturevalue("on_postgres" if is_celery else "on_sqlite")
    return Place(variables, secret, provider, is_celery)


@pytest.fixture(scope="module")
def standing() -> list[Shared]:
    """The clusters that may be running: their makers take whatever is asked for in their place."""
    return []


@pytest.fixture(scope="module")
def shared(place: Place, standing: list[Shared]) -> Iterator[Shared]:
    found = Shared(place)
    standing.append(found)
    yield found
    found.stop()


@pytest.fixture
def cluster(shared: Shared) -> Cluster:
    found = shared.cluster()
    found.provider.calls.clear()
    return found


@pytest.fixture
def start(place: Place, shared: Shared) -> Iterator[Start]:
    """Start two servers, and a background worker where there is Celery; keywords are variables."""
    shared.stop()
    with ExitStack() as running:

        def started(**options: Any) -> Cluster:
            place.provider.calls.clear()
            return place.started(running, **options)

        yield started


def upstream_call(cluster: Cluster, count: int = 1) -> LoggedCall:
    """The last of the calls the provider has got."""
    eventually(lambda: len(cluster.provider.calls) >= count)
    return cluster.provider.calls[-1]


def streaming(cluster: Cluster, model: str, text: str) -> tuple[str, Wire]:
    """The id of a stream in the background asked for at A, which gives output, and its client."""
    client = Wire(cluster.a.root_url)
    body = question("responses", model, text, stream=True, background=True)
    client.send(wire.request("responses", cluster, body))
    client.wait_for(b"output_text.delta")
    return str(events_in(client.received)[0]["response"]["id"]), client


@each_protocol
@pytest.mark.some_of("background runs told by another server")
def test_what_one_server_began_the_other_tells_live_and_from_every_number(
    cluster: Cluster, protocol: str
) -> None:
    response_id, client = streaming(cluster, f"sandbox-{protocol}", PACED)
    with client, cluster.follow(cluster.b, response_id) as other:
        live = without_signs_of_life(other.answer().events)
        asked = without_signs_of_life(client.answer().events)
    assert live == asked
    assert grammar.check(asked)["status"] == "completed"
    cluster.assert_same_everywhere(asked, cluster.a, cluster.b)
    assert len(cluster.provider.calls) == 1


def test_a_stream_in_the_foreground_is_resumed_on_the_other_server(cluster: Cluster) -> None:
    client = Wire(cluster.a.root_url)
    body = question("responses", "kept-chat", PACED, stream=True)
    client.send(wire.request("responses", cluster, body))
    client.wait_for(b"output_text.delta")
    seen = events_in(client.received)
    client.socket.close()

    events = cluster.events(cluster.b, seen[0]["response"]["id"])

    assert grammar.check(events)["status"] == "completed"
    assert events[: len(seen)] == seen
    cluster.assert_same_everywhere(events, cluster.a, cluster.b)


@each_protocol
def test_cancelling_on_one_server_stops_what_another_process_makes_within_a_second(
    cluster: Cluster, protocol: str
) -> None:
    response_id, client = streaming(cluster, f"endless-{protocol}", "[pace=20]")
    call = upstream_call(cluster)
    asked_at = time.monotonic()
    cancelled = cluster.cancel(cluster.b, response_id)
    with client:
        events = without_signs_of_life(client.answer().events)
    assert_closed(call, asked_at)
    assert cancelled["status"] == "cancelled"
    assert events[-1]["response"]["status"] == "cancelled"
    assert cluster.cancel(cluster.a, response_id) == cancelled
    cluster.assert_same_everywhere(events, cluster.b)


def test_cancelling_what_has_not_said_anything_stops_it_as_well(cluster: Cluster) -> None:
    response_id = cluster.create(cluster.a, "endless-chat", "[wait=60000]")["id"]
    call = upstream_call(cluster)
    asked_at = time.monotonic()
    cluster.cancel(cluster.b, response_id)
    assert_closed(call, asked_at)
    assert cluster.status(response_id) == "cancelled"


def assert_closed(call: LoggedCall, asked_at: float) -> None:
    """Within a second: nothing else would end it."""
    eventually(lambda: call.ended is not None)
    assert call.ended == "client_closed"
    assert call.client_closed_at is not None
    assert call.client_closed_at - asked_at < promised(1.0) + NOISE_SECONDS


# Processes that die


@pytest.mark.some_of("background runs whose maker dies", keep=2)
def test_what_was_asked_of_a_server_that_died_is_had_from_the_other(start: Start) -> None:
    """The other server has it in the middle where a background worker makes it, otherwise once it is made."""
    cluster = start()
    asked = [streaming(cluster, f"sandbox-{protocol}", PACED) for protocol in PROTOCOLS]
    if cluster.maker is None:
        for response_id, _ in asked:
            cluster.ends(response_id)
    cluster.kill(cluster.a)
    for response_id, client in asked:
        client.until_closed()
        seen = events_in(client.received)
        events = cluster.events(cluster.b, response_id)
        assert grammar.check(events)["status"] == "completed"
        assert events[: len(seen)] == seen
        cluster.assert_same_everywhere(events, cluster.b)


@pytest.mark.long
@pytest.mark.some_of("background runs whose maker dies", keep=2)
def test_runs_whose_maker_is_killed_fail_honestly_and_no_event_is_missing_or_double(
    start: Start,
) -> None:
    cluster = start()
    asked = [streaming(cluster, f"endless-{protocol}", "[pace=20]") for protocol in PROTOCOLS]
    silent = cluster.create(cluster.a, "endless-chat", "[pace=20]")["id"]
    upstream_call(cluster, 4)
    followers = [cluster.follow(cluster.b, response_id) for response_id, _ in asked]
    for follower in followers:
        follower.wait_for(b"output_text.delta")

    cluster.kill(cluster.maker or cluster.a)
    killed_at = time.monotonic()

    for (_, client), follower in zip(asked, followers, strict=True):
        told = follower.answer()
        assert time.monotonic() - killed_at < promised(30) + NOISE_SECONDS
        assert told.is_whole
        events = without_signs_of_life(told.events)
        final = grammar.check(events)
        assert (final["status"], final["error"]["code"]) == ("failed", "server_error")
        assert "was lost" in final["error"]["message"]
        client.until_closed_or(b"[DONE]")
        seen = events_in(client.received)
        assert events[: len(seen)] == seen
        cluster.assert_same_everywhere(events, cluster.b)
    assert cluster.ends(silent)["status"] == "failed"
    eventually(lambda: all(call.ended == "client_closed" for call in cluster.provider.calls))
    assert len(cluster.provider.calls) == 4  # nobody asked the provider again


def test_a_maker_that_is_told_to_stop_ends_what_it_makes_with_the_reason(start: Start) -> None:
    cluster = start(TOLLGATE_DRAIN_SECONDS="1")
    response_id, client = streaming(cluster, "endless-chat", "[pace=20]")
    maker = cluster.maker or cluster.a
    with client, cluster.follow(cluster.b, response_id) as other:
        other.wait_for(b"output_text.delta")
        maker.signal(signal.SIGTERM)
        final = grammar.check(without_signs_of_life(other.answer().events))
    assert final["status"] == "failed"
    assert "shutting down" in final["error"]["message"]
    assert maker.wait() == 0


# Workers of their own


def metrics_of(served: Served) -> list[str]:
    """Return the lines of a server's metrics, which tell of its host."""
    headers = {"authorization": f"Bearer {METRICS_TOKEN}"}
    answer = httpx.get(
        f"{served.root_url}/metrics", headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False
    )
    assert answer.status_code == 200
    return answer.text.splitlines()


@pytest.fixture
def celery(
    request: pytest.FixtureRequest, provider: SandboxServer, standing: list[Shared]
) -> Place:
    """The place with PostgreSQL, Redis and Celery, in which nothing runs yet."""
    for each in standing:
        each.stop()
    variables, secret = request.getfixturevalue("on_postgres")
    provider.calls.clear()
    return Place(variables, secret, provider, is_celery=True)


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.some_of("background workers", keep=2)
def test_one_worker_makes_a_hundred_responses_at_once_and_metrics_tell_of_them(
    celery: Place,
) -> None:
    with ExitStack() as running:
        cluster = celery.started(running, TOLLGATE_METRICS_TOKEN=METRICS_TOKEN)
        # So slow that a busy machine has no more to do than to have them all open.
        slow = "[pace=10000]"
        made = [cluster.create(cluster.a, "endless-chat", slow)["id"] for _ in range(100)]
        upstream_call(cluster, 100)
        assert [call.ended for call in celery.provider.calls] == [None] * 100
        for response_id in made:
            assert cluster.cancel(cluster.b, response_id)["status"] == "cancelled"
        closed = ["client_closed"] * 100
        eventually(lambda: [call.ended for call in celery.provider.calls] == closed)
        ended = (
            'tollgate_requests_total{route="responses",alias="endless-chat",status="cancelled"} 100'
        )
        eventually(lambda: ended in metrics_of(cluster.a))
        assert 'tollgate_processes{kind="background"} 1' in metrics_of(cluster.a)


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.some_of("background workers", keep=2)
def test_a_run_that_a_worker_makes_is_part_of_the_trace_of_its_request(celery: Place) -> None:
    with Receiver() as collector, ExitStack() as running:
        options: dict[str, Any] = {
            "TOLLGATE_OTLP_ENDPOINT": collector.url_of(""),
            "TOLLGATE_TRACES_RATIO": "1",
        }
        cluster = celery.started(running, **options)
        cluster.ends(cluster.create(cluster.a, "sandbox-chat", "Hi")["id"])

        def spans() -> list[ReadSpan]:
            return [span for each in list(collector.received) for span in read(each.body)]

        eventually(lambda: {SERVER, CONSUMER} <= {span.kind for span in spans()})
        (run,) = (span for span in spans() if span.kind == CONSUMER)
        (asked,) = (span for span in spans() if span.span_id == run.parent_id)
        (leg,) = (span for span in spans() if span.parent_id == run.span_id and span.kind == CLIENT)
    assert {asked.trace_id, run.trace_id, leg.trace_id} == {asked.trace_id}
    request_ids = {each.attributes["tollgate.request_id"] for each in (asked, run)}
    assert request_ids == {f"req_{asked.trace_id}"}


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.some_of("background workers", keep=2)
def test_what_no_worker_took_is_taken_by_one_that_comes_later(celery: Place) -> None:
    """The message may be long gone: the broker is not relied on to remember."""
    with ExitStack() as running:
        cluster = celery.started(running, with_worker=False)
        response_id = cluster.create(cluster.a, "sandbox-chat", "Hi")["id"]
        with redis.Redis.from_url(celery.variables["REDIS_URL"]) as broker:
            broker.flushdb()
        running.enter_context(celery.worker())
        assert cluster.ends(response_id)["status"] == "completed"


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.some_of("background workers", keep=2)
def test_what_no_worker_ever_takes_fails_honestly(celery: Place) -> None:
    with ExitStack() as running:
        cluster = celery.started(running, with_worker=False, TOLLGATE_BACKGROUND_QUEUE_SECONDS="5")
        response_id = cluster.create(cluster.a, "sandbox-chat", "Hi")["id"]
        final = cluster.ends(response_id)
        assert final["status"] == "failed"
        assert "within 5 seconds" in final["error"]["message"]
        assert len(celery.provider.calls) == 0


# In one server


def test_what_one_server_has_no_place_for_another_makes(
    on_sqlite: tuple[dict[str, str], str], provider: SandboxServer
) -> None:
    with ExitStack() as running:
        cluster = Place(*on_sqlite, provider).started(running, TOLLGATE_BACKGROUND_RUNS="1")
        endless = cluster.create(cluster.a, "endless-chat", "[pace=20]")["id"]
        waiting = cluster.create(cluster.a, "sandbox-chat", "Hi")["id"]
        assert cluster.ends(waiting)["status"] == "completed"
        eventually(lambda: cluster.status(endless) == "in_progress")
        cluster.cancel(cluster.b, endless)


@pytest.mark.long
@pytest.mark.some_of("background runs whose maker dies", keep=2)
def test_a_killed_worker_of_the_same_server_is_replaced_and_its_runs_end(
    on_sqlite: tuple[dict[str, str], str], provider: SandboxServer
) -> None:
    """One command is a whole gateway, also for this."""
    with ExitStack() as running:
        cluster = Place(*on_sqlite, provider).started(running)
        provider.calls.clear()
        cluster.kill(cluster.b)
        cluster.b = alone = cluster.a
        response_id = cluster.create(alone, "endless-chat", "[pace=20]")["id"]
        upstream_call(cluster)
        kill(alone.workers[-1], signal.SIGKILL)
        killed_at = time.monotonic()
        eventually(lambda: alone.is_ready)
        assert cluster.ends(response_id)["status"] == "failed"
        assert time.monotonic() - killed_at < promised(30) + NOISE_SECONDS


def is_past(moment: float) -> bool:
    return time.monotonic() > moment


@pytest.mark.long
@pytest.mark.some_of("background runs whose maker dies", keep=2)
def test_a_lost_run_is_found_within_thirty_seconds_though_workers_keep_dying(
    on_sqlite: tuple[dict[str, str], str], provider: SandboxServer
) -> None:
    """None of them lives for as long as it takes to be sure."""
    with ExitStack() as running:
        cluster = Place(*on_sqlite, provider).started(running)
        provider.calls.clear()
        cluster.kill(cluster.b)
        cluster.b = alone = cluster.a
        response_id = cluster.create(alone, "endless-chat", "[pace=20]")["id"]
        upstream_call(cluster)
        lost_at = time.monotonic()
        kills = 0
        while kills == 0 or cluster.status(response_id) != "failed":
            kill(alone.workers[-1], signal.SIGKILL)
            kills += 1
            killed_at = time.monotonic()
            eventually(lambda: alone.is_ready)
            assert time.monotonic() - lost_at < promised(30) + NOISE_SECONDS
            # Each lives for a while, and still not for as long as it takes.
            eventually(partial(is_past, killed_at + LIVES_SECONDS))
        assert kills > 1
