"""The console's socket: who may open it, what is pushed to whom, and when it is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway_project.lib import clock
from gateway_project.serving import console_socket
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console import live
from tenants.console.live import live_topic
from tenants.models import ConsoleSession, Membership, Tenant
from tenants.sign_in import by_session
from tests.plugins.cases import cases
from tests.support import console_session
from tests.support.console_session import SignedIn
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer

Json = dict[str, Any]


@live_topic("test-name", every_seconds=0)
def tell_name(request: HttpRequest) -> Json:
    """Tell the name of a tenant, which changes while somebody looks."""
    tenant = Tenant.objects.filter(slug=request.GET.get("tenant")).first()
    if tenant is None or not access(request).may("view", Area.TENANT, tenant.pk):
        raise Http404
    return {"name": tenant.name}


@live_topic("test-broken", every_seconds=0)
def fail(request: HttpRequest) -> Json:
    raise ZeroDivisionError


@live_topic("test-forbidden", every_seconds=0)
async def refuse_everybody(request: HttpRequest) -> Json:
    raise PermissionDenied


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(console_socket, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(console_socket, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(console_socket, "PAUSE_SECONDS", 0.0)
    yield
    until(lambda: not console_socket.open_count())


@pytest.fixture
def person(acme: Customer) -> SignedIn:
    return console_session.member("developer", acme.tenant)


@pytest.fixture
def operator(gateway: LiveGateway) -> SignedIn:
    return console_session.operator()


def opened(
    gateway: LiveGateway, person: SignedIn | None, origin: str | None = "", **headers: str
) -> ClientConnection:
    sent = {**(person.headers if person else {}), **headers}
    if origin is not None:
        sent["origin"] = origin or gateway.root_url
    url = f"ws://127.0.0.1:{gateway.port}/console/ws/"
    return connect(url, additional_headers=sent, open_timeout=GIVE_UP_SECONDS, proxy=None)


def watch(socket: ClientConnection, topic: str, query: str = "", name: str = "1") -> None:
    socket.send(orjson.dumps({"watch": topic, "as": name, "query": query}).decode())


def told(socket: ClientConnection) -> Json:
    found: Json = orjson.loads(socket.recv(GIVE_UP_SECONDS))
    return found


def code_of(socket: ClientConnection) -> int:
    """The code it closes with; what it was told before that is let by."""
    closed = None
    while closed is None:
        try:
            socket.recv(GIVE_UP_SECONDS)
        except ConnectionClosed as error:
            closed = error.rcvd
    return closed.code


def test_a_page_is_told_again_when_what_it_watches_has_changed(
    gateway: LiveGateway, acme: Customer, person: SignedIn
) -> None:
    with opened(gateway, person) as socket:
        watch(socket, "test-name", "tenant=acme", "a")
        assert told(socket) == {"as": "a", "data": {"name": "Acme"}}
        Tenant.objects.filter(pk=acme.tenant.pk).update(name="Acme & Sons")
        assert told(socket) == {"as": "a", "data": {"name": "Acme & Sons"}}
        watch(socket, "test-name", "tenant=acme", "b")  # nothing was said of what had not changed
        assert told(socket) == {"as": "b", "data": {"name": "Acme & Sons"}}
        socket.send('{"forget": "a"}')
        socket.send('{"forget": "b"}')
        watch(socket, "test-forbidden", "", "c")
        assert told(socket) == {"as": "c", "ended": True}


def test_what_a_person_may_not_see_ends_the_watch_and_not_the_socket(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    with opened(gateway, person) as socket:
        for tenant in ("bob", "nobody"):
            watch(socket, "test-name", f"tenant={tenant}")
            assert told(socket) == {"as": "1", "ended": True}
        watch(socket, "test-name", "tenant=acme")
        assert told(socket)["data"] == {"name": "Acme"}


@cases(("what", "origin", "headers"), [
    ("nobody is signed in", "", {"cookie": ""}),
    ("the session is none", "", {"cookie": "sessionid=abcdefgh"}),
    ("there is no origin", None, {}),
    ("another site's page opens it", "http://evil.example", {}),
    ("another port's page opens it", "http://127.0.0.1:1", {}),
    ("the origin is none", "null", {}),
])  # fmt: skip
def test_a_handshake_is_refused_when(
    gateway: LiveGateway, operator: SignedIn, what: str, origin: str | None, headers: dict[str, str]
) -> None:
    person = operator
    with pytest.raises(InvalidStatus) as refused:
        opened(gateway, None if "cookie" in headers else person, origin, **headers)
    assert refused.value.response.status_code == 403, what


def test_it_is_not_there_on_hosts_that_are_not_the_consoles(
    gateway: LiveGateway, person: SignedIn, settings: Any
) -> None:
    settings.CONSOLE_HOSTS = ["console.example"]
    with pytest.raises(InvalidStatus) as refused:
        opened(gateway, person)
    assert refused.value.response.status_code == 404


@cases("how", ["removed", "signed out", "locked out", "idle"])
def test_whoever_may_nothing_any_more_is_cut_off(gateway: LiveGateway, how: str) -> None:
    slug = how.replace(" ", "-")
    tenant = Tenant.objects.create(slug=slug, name="Acme")
    person = console_session.member("developer", tenant)
    with opened(gateway, person) as socket:
        watch(socket, "test-name", f"tenant={slug}")
        assert told(socket)["data"] == {"name": "Acme"}
        match how:
            case "removed":
                Membership.objects.filter(user=person.user).delete()
            case "signed out":
                ConsoleSession.objects.filter(pk=person.session_id).delete()
            case "locked out":
                User.objects.filter(pk=person.user.pk).update(is_active=False)
            case "idle":
                rows = ConsoleSession.objects.filter(pk=person.session_id)
                rows.update(seen_at=tenant.created_at.replace(year=2020))
        Tenant.objects.filter(pk=tenant.pk).update(name="Told to nobody")
        assert code_of(socket) == 4401
        with pytest.raises(InvalidStatus):
            opened(gateway, person)


def test_rights_are_those_of_the_moment_of_each_push(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    Membership.objects.create(user=person.user, tenant=bob.tenant, role="viewer")
    with opened(gateway, person) as socket:
        watch(socket, "test-name", "tenant=acme")
        assert told(socket)["data"] == {"name": "Acme"}
        Membership.objects.filter(user=person.user, tenant=acme.tenant).delete()
        assert told(socket) == {"as": "1", "ended": True}


@cases(("frame", "code"), [
    ("{", 1008), ("[]", 1008), ('"x"', 1008), ('{"watch": "nothing", "as": "1"}', 1008),
    ('{"watch": ["test-name"], "as": "1"}', 1008), ('{"watch": "test-name", "as": 1}', 1008),
    ('{"watch": "test-name", "as": "1", "query": 5}', 1008),
    (b"binary", 1008), (" " * 3000, 1009), (" " * 10_000, 1009),
])  # fmt: skip
def test_a_frame_that_is_none_of_the_consoles_closes_it(
    gateway: LiveGateway, operator: SignedIn, frame: str | bytes, code: int
) -> None:
    with opened(gateway, operator) as socket:
        socket.send(frame)
        assert code_of(socket) == code


def test_a_query_that_no_page_could_have_ends_its_watch_alone(
    gateway: LiveGateway, acme: Customer, person: SignedIn
) -> None:
    with opened(gateway, person) as socket:
        for topic in ("test-name", "test-forbidden"):
            watch(socket, topic, "&".join(["a"] * 1001), "m")
            assert told(socket) == {"as": "m", "ended": True}
        watch(socket, "test-name", "tenant=acme", "one")
        assert told(socket)["data"] == {"name": "Acme"}


def test_a_page_whose_topic_fails_is_not_left_waiting(
    gateway: LiveGateway, person: SignedIn
) -> None:
    with opened(gateway, person) as socket:
        watch(socket, "test-broken")
        assert code_of(socket) == 1011


def test_frames_however_many_are_not_questions_each(
    gateway: LiveGateway, acme: Customer, person: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = by_session.request_of

    def counted(session_id: str, **given: Any) -> Any:
        reads.append(session_id)
        return read(session_id, **given)

    monkeypatch.setattr(by_session, "request_of", counted)
    monkeypatch.setattr(console_socket, "PAUSE_SECONDS", 3600.0)
    with opened(gateway, person) as socket:
        until(lambda: len(reads) == 2)  # the handshake, and the first look
        for _ in range(50):
            watch(socket, "test-name", "tenant=acme")
        socket.send("{")  # closes it: all frames before it were read
        assert code_of(socket) == 1008
    assert len(reads) == 2


def test_pages_and_what_they_watch_are_bounded(
    gateway: LiveGateway, person: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_socket, "MAX_SOCKETS", 1)
    with opened(gateway, person) as socket:
        with pytest.raises(InvalidStatus) as refused:
            opened(gateway, person)
        assert refused.value.response.status_code == 429
        for number in range(console_socket.MAX_WATCHES + 1):
            watch(socket, "test-name", "tenant=acme", str(number))
        assert code_of(socket) == 1008


def test_a_drain_closes_it_at_once(gateway: LiveGateway, person: SignedIn) -> None:
    with opened(gateway, person) as socket:
        watch(socket, "test-name", "tenant=acme")
        told(socket)
        gateway.call(gateway.worker.services.registry.start_draining)
        assert code_of(socket) == 1012
        with pytest.raises(InvalidStatus) as refused:
            opened(gateway, person)
        assert refused.value.response.status_code == 503


def test_a_page_without_a_socket_asks_for_the_same(
    gateway: LiveGateway, acme: Customer, bob: Customer, person: SignedIn
) -> None:
    with httpx.Client(
        base_url=f"{gateway.root_url}/console/live/", headers=person.headers, trust_env=False
    ) as http:
        rows = ConsoleSession.objects.filter(pk=person.session_id)
        before = clock.now() - timedelta(minutes=5)
        rows.update(seen_at=before)
        answer = http.get("test-name/", params={"tenant": "acme"})
        assert (answer.status_code, answer.json()) == (200, {"name": "Acme"})
        assert http.get("test-name/", params={"tenant": "bob"}).status_code == 404
        assert http.get("test-forbidden/").status_code == 403
        assert http.get("nothing/").status_code == 404
        assert http.post("test-name/").status_code in {403, 405}
        assert rows.get().seen_at == before  # an open page alone is no use of a session
        assert httpx.get(f"{http.base_url}test-name/", trust_env=False).status_code in {302, 403}


def test_a_topic_has_one_answer() -> None:
    with pytest.raises(ValueError, match="test-name"):
        live_topic("test-name")(tell_name)
    assert {"test-name", "test-forbidden"} <= set(live.topic_names())
