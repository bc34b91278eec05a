"""Every route, with every id it takes: another tenant's is answered exactly like one that does not exist."""

from __future__ import annotations

from string import Template
from typing import Any

import httpx
import orjson
import pytest
from django.urls import URLPattern
from websockets.sync.client import connect

from gateway_project.asgi import SOCKET_TABLE, TABLE
from gateway_project.lib.prefixes import PREFIXES
from responses_api.consumers import SOCKETS
from responses_api.urls import urlpatterns
from tenants.models import ApiKey
from tests.isolation.entries import ENTRIES, Probe, Route
from tests.isolation.world import CANARY, UNKNOWN, Belongings, everything, furnish
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import rows
from tests.support.client import client_of
from tests.support.patience import GIVE_UP_SECONDS

METHODS = ("get", "post", "put", "patch", "delete")
VOLATILE = {"date", "x-request-id"}


def routes() -> set[Route]:
    """Every method and path of the API: what Django serves, and what the ASGI table does."""
    django = {route for pattern in urlpatterns for route in _routes_of(pattern)}
    return django | _table(PREFIXES[0]) | {("SOCKET", path) for path in SOCKETS}


def _routes_of(pattern: URLPattern) -> set[Route]:
    view: Any = pattern.callback
    path = str(pattern.pattern)
    if not hasattr(view, "cls"):
        return {("ANY", path)}
    return {(method.upper(), path) for method in METHODS if hasattr(view.cls, method)}


def _table(prefix: str) -> set[Route]:
    return {
        (method, path.removeprefix(prefix)) for method, path in TABLE if path.startswith(prefix)
    }


def probes() -> list[Any]:
    return [
        pytest.param(method, probe, id=f"{method} {route} {probe.where} {probe.kind} {number}")
        for (method, route), found in ENTRIES.items()
        for number, probe in enumerate(found)
    ]


@pytest.fixture
def victim(acme) -> Belongings:
    return furnish(acme, CANARY)


@pytest.fixture
def victims_rows(victim) -> list[str]:
    """All the other has, which no case may change."""
    return everything(victim.owner)


@pytest.fixture
def mine(victim) -> Belongings:
    return furnish(rows.customer("bob"), "harmless")


@pytest.fixture
def http(gateway, mine):
    with client_of(gateway, mine.owner) as client:
        yield client


def send(
    http: httpx.Client, mine: Belongings, method: str, probe: Probe, tried: str, of: Belongings
) -> httpx.Response:
    """Ask with an id `of` a tenant, or with an unknown one in its place."""
    own = {kind: found[0] for kind, found in mine.ids.items()}
    within = of.ids["conversation_item"][0]

    def filled(text: str) -> str:
        return Template(text).substitute(own, id=tried, within=within)

    query = {name: filled(value) for name, value in probe.query.items()}
    content = None if probe.body is None else filled(orjson.dumps(probe.body).decode())
    if method == "SOCKET":
        return over_socket(http, filled(probe.path), orjson.loads(content or "{}"))
    return http.request(method, "/" + filled(probe.path), params=query, content=content)


def over_socket(http: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    """Take a turn over a WebSocket and return its end as if it had been a request."""
    url = http.base_url.copy_with(scheme="ws").join(path)
    headers = {"authorization": http.headers["authorization"]}
    with connect(str(url), additional_headers=headers, open_timeout=GIVE_UP_SECONDS) as connection:
        connection.send(orjson.dumps({"type": "response.create", **body}).decode())
        while (frame := orjson.loads(connection.recv(GIVE_UP_SECONDS)))["type"] != "error":
            if frame["type"] == "response.completed":
                return httpx.Response(200, content=orjson.dumps(frame))
        del frame["error"]["headers"]  # the id of the request
        return httpx.Response(frame["status"], content=orjson.dumps(frame))


def told(answer: httpx.Response, probe: Probe, tried: str) -> tuple[int, bytes, Any]:
    """Return all parts of an answer that could tell something."""
    body = answer.content
    if probe.quotes:
        body = body.replace(tried.encode(), b"ID")
    ignored = VOLATILE | ({"content-length"} if probe.quotes else set())
    headers = {name: value for name, value in answer.headers.items() if name not in ignored}
    return answer.status_code, body, headers


def test_every_route_has_an_entry_and_every_entry_a_route():
    assert set(ENTRIES) == routes()


def test_both_prefixes_have_the_same_routes():
    first, second = PREFIXES
    assert _table(first) == _table(second) != set()
    assert set(SOCKET_TABLE) == {prefix + path for prefix in PREFIXES for path in SOCKETS}


@cases(("method", "probe"), probes)
def test_a_strangers_id_is_answered_like_an_unknown_one(
    http, victim, victims_rows, mine, method, probe
):
    unknown = UNKNOWN[probe.kind]
    expected = told(send(http, mine, method, probe, unknown, victim), probe, unknown)
    assert unknown.encode() not in expected[1]
    for foreign in victim.ids[probe.kind]:
        answer = send(http, mine, method, probe, foreign, victim)
        assert CANARY not in answer.text
        assert told(answer, probe, foreign) == expected
    assert everything(victim.owner) == victims_rows


@cases(("method", "probe"), lambda: [each for each in probes() if each.values[0] == "GET"])
def test_an_id_of_ones_own_can_be_read(http, mine, method, probe):
    """Otherwise the test above would prove nothing."""
    assert_works(http, mine, method, probe)


@pytest.mark.parametrize(
    ("method", "probe"),
    sampled([each for each in probes() if each.values[0] != "GET"], default=8, ci=30),
)
def test_the_same_change_works_with_an_id_of_ones_own(http, mine, method, probe):
    assert_works(http, mine, method, probe)


def assert_works(http: httpx.Client, mine: Belongings, method: str, probe: Probe) -> None:
    own = list(mine.ids[probe.kind])
    if probe.where == "cursor":
        own = [found for found in own if found in listed(http, mine, probe)]
    assert own != []
    for tried in own[:1] if method == "DELETE" else own:
        answer = send(http, mine, method, probe, tried, mine)
        assert answer.status_code == 200, answer.text


# What a key that may change things, but not read what is stored, is answered with.
OUTLINES = {
    "responses/$id/cancel": {"id", "object", "status"},
    "chat/completions/$id": {"id", "object", "metadata"},
    "conversations/$conversation/items/$id": {"id", "object"},
}
CHANGES = [
    pytest.param(method, probe, id=f"{method} {probe.path} {probe.kind}")
    for (method, _), found in ENTRIES.items()
    for probe in found
    if method in {"POST", "DELETE", "SOCKET"} and probe.kind != "model"
]


@pytest.mark.parametrize(("method", "probe"), sampled(CHANGES, default=8, ci=30))
def test_a_key_that_may_not_read_is_told_nothing_that_is_stored(http, victim, method, probe):
    """The whole tenant's content is the canary here, and the key is the tenant's own."""
    ApiKey.objects.filter(pk=victim.owner.key.pk).update(scopes=["generate", "models", "store"])
    http.headers.update(victim.owner.headers)

    answer = send(http, victim, method, probe, victim.ids[probe.kind][0], victim)

    assert CANARY not in answer.text
    if probe.path in OUTLINES and method != "GET" and answer.status_code == 200:
        assert set(answer.json()) in (OUTLINES[probe.path], {"id", "object", "deleted"})
    else:
        assert answer.status_code in {200, 400, 403}, answer.text


def listed(http: httpx.Client, mine: Belongings, probe: Probe) -> set[str]:
    """The ids a list can be continued after: a response's output is not among its input items."""
    answer = send(http, mine, "GET", Probe("path", probe.kind, probe.path), "", mine)
    return {entry["id"] for entry in answer.json()["data"]}


@cases("path", ["models", "chat/completions", "nothing", "conversations"])
def test_what_takes_no_id_tells_nothing_of_others_either(http, victim, path):
    answer = http.get("/" + path)
    assert CANARY not in answer.text
    assert "only-acme" not in answer.text
