"""No request and no row without permission leads the gateway to a private address.

What counts is which `connect` calls the process makes: an audit hook sees every one, whoever makes it.
"""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from gateway_project import identity_http
from gateway_project.sandbox.reply import Scripted
from routing.upstream import checked_transport, connections, egress
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import sampled
from tests.support import client, rows, wire
from tests.support.client import question
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer

GATEWAY_THREAD = "live-gateway"
_connects: list[tuple[Any, ...]] = []


def _see_connects(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and threading.current_thread().name == GATEWAY_THREAD:
        _connects.append(arguments[1])


@pytest.fixture(scope="module")
def audit_hook() -> None:
    """An audit hook cannot be taken away again; this one only listens to the gateway's thread."""
    sys.addaudithook(_see_connects)


@pytest.fixture
def connects(audit_hook: None, gateway: LiveGateway) -> Iterator[list[tuple[Any, ...]]]:
    """The addresses that the gateway connected to."""
    _connects.clear()
    yield _connects
    _connects.clear()


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


# Ways to write an address that must not be reached

FORBIDDEN_HOSTS = [
    # loopback, private, shared, link-local, unspecified and reserved IPv4
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    # other spellings of 127.0.0.1, 10.0.0.1 and 169.254.169.254
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.0.1",
    "0x7f.1",
    "167772161",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    # IPv6
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    # IPv4 inside IPv6: mapped, compatible, translated, NAT64 (both prefixes), 6to4, Teredo
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:100.64.0.1]",
    "[::ffff:0.0.0.0]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    # names and tricks of notation
    "localhost",
    "localhost.",
    "127.0.0.1.",
    "user@127.0.0.1",
    "api.openai.com@127.0.0.1",
    "user:pass@[::1]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ⓛocalhost",
]
PRIVATE_ANSWERS = {
    "loopback.test": ["127.0.0.1"],
    "private.test": ["10.1.2.3"],
    "metadata.test": ["169.254.169.254"],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:192.168.0.1"],
    "both.test": ["192.168.0.1", "fd00::1"],
    "trailing.test.": ["127.0.0.1"],
    "xn--bcher-kva.test": ["127.0.0.1"],
}


def ask(gateway: LiveGateway, customer: Customer, **body: Any) -> httpx.Response:
    return client.ask(gateway, "responses", customer, "target", **body)


def point_at(base_url: str, model: str = "any", *, allow_private: bool = False) -> None:
    row = rows.provider("responses", base_url, "target", allow_private_network=allow_private)
    rows.alias("target", (row, model))


def test_there_are_enough_cases() -> None:
    assert len(set(FORBIDDEN_HOSTS)) == len(FORBIDDEN_HOSTS)
    assert len(FORBIDDEN_HOSTS) + len(PRIVATE_ANSWERS) >= 60


@sample(default=8, ci=20)
@cases("host", FORBIDDEN_HOSTS)
def test_a_private_address_is_never_connected_to(
    gateway: LiveGateway, customer: Customer, connects: list[Any], host: str
) -> None:
    point_at(f"http://{host}:{gateway.sandbox.port}/v1")
    answer = ask(gateway, customer)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] in {
        "upstream_address_forbidden",
        "upstream_unreachable",  # it is no address at all, or a name nobody knows
    }
    assert connects == []
    assert len(gateway.sandbox.calls) == 0


@cases("host", FORBIDDEN_HOSTS)
def test_an_identity_provider_of_a_tenant_is_never_asked_there(
    connects: list[Any], host: str
) -> None:
    """Discovery, keys and tokens of OpenID Connect all go through this one function."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=r"cannot be asked|Invalid|invalid"):
            identity_http.fetch("GET", f"http://{host}:{port}/x", allow_private=False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert connects == []


def test_an_identity_provider_that_compresses_its_answer_unasked_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pack(self: object, request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        stream = httpx.ByteStream(gzip.compress(gzip.compress(b"{}")))
        return httpx.Response(200, headers={"content-encoding": "gzip, gzip"}, stream=stream)

    monkeypatch.setattr(checked_transport.CheckedTransport, "handle_request", pack)
    with pytest.raises(OSError, match="which was not asked for"):
        identity_http.fetch("GET", "https://id.example/x", allow_private=False)


@cases("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_the_hook_sees_the_same_address_where_the_row_allows_it(
    gateway: LiveGateway, customer: Customer, connects: list[Any], host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        point_at(f"http://{host}:{port}/v1", allow_private=True)
        with wire.Wire(gateway.root_url) as client:
            body = question("responses", "target", "Hi", stream=False)
            client.send(wire.request("responses", customer, body))
            until(lambda: port in {address[1] for address in connects})


@cases("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1%25lo]", "0.0.0.0", "[::]"])
def test_cloud_metadata_is_forbidden_even_where_private_networks_are_allowed(
    gateway: LiveGateway, customer: Customer, connects: list[Any], host: str
) -> None:
    point_at(f"http://{host}:{gateway.sandbox.port}/v1", allow_private=True)
    answer = ask(gateway, customer)
    assert answer.json()["error"]["code"] == "upstream_address_forbidden"
    assert connects == []


class FakeDns:
    """Names of `.test`: each look-up takes the next answer, the last one repeats."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self._answers = answers
        self.asked = 0

    async def resolve(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int
    ) -> list[egress.AddressInfo]:
        self.asked += 1
        left = self._answers[host]
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in addresses
        ]


def fake_dns(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> FakeDns:
    dns = FakeDns(answers)
    monkeypatch.setattr(connections, "resolve", dns.resolve)
    return dns


@cases("host", PRIVATE_ANSWERS)
def test_a_name_that_leads_to_a_private_address_is_not_followed(
    gateway: LiveGateway,
    customer: Customer,
    connects: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    dns = fake_dns(monkeypatch, {host: [PRIVATE_ANSWERS[host]]})
    point_at(f"http://{host}:{gateway.sandbox.port}/v1")
    answer = ask(gateway, customer)
    assert answer.json()["error"]["code"] == "upstream_address_forbidden"
    assert (connects, dns.asked) == ([], 1)


def test_a_name_whose_second_answer_is_private_is_asked_once_and_held_to_that(
    gateway: LiveGateway,
    customer: Customer,
    connects: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when checked, private when connected to."""
    monkeypatch.setattr(connections, "NAMES_SECONDS", 0)
    public, private = ["192.0.0.9"], ["127.0.0.1"]  # an anycast address that is never answered here
    dns = fake_dns(monkeypatch, {"rebinding.test": [public, private]})
    seen: list[str] = []
    monkeypatch.setattr(egress, "check_address", recording(seen, egress.check_address))
    point_at(f"http://rebinding.test:{gateway.sandbox.port}/v1")
    for _ in range(3):
        ask_briefly(gateway, customer)
    assert "127.0.0.1" not in {address[0] for address in connects}
    assert [address[0] for address in connects] == [
        address for address in seen if address in public
    ]
    assert dns.asked >= 1


def recording(seen: list[str], check: Any) -> Any:
    def recorded(text: str, *, allow_private: bool) -> None:
        seen.append(text)
        check(text, allow_private=allow_private)

    return recorded


def ask_briefly(gateway: LiveGateway, customer: Customer) -> None:
    """One call that need not be answered."""
    try:
        with client.client_of(gateway, customer) as http:
            impatient = httpx.Timeout(GIVE_UP_SECONDS, read=0.2)
            http.post("/responses", json={"model": "target", "input": "Hi"}, timeout=impatient)
    except httpx.TimeoutException:
        return


# Redirects


@cases("status", [301, 302, 303, 307, 308])
@cases("stream", [False, True], ids=["json", "stream"])
def test_a_redirect_is_an_error_and_never_followed(
    gateway: LiveGateway, customer: Customer, connects: list[Any], status: int, stream: bool
) -> None:
    point_at(gateway.sandbox.base_url, "moved", allow_private=True)
    for host in [*filter(str.isascii, FORBIDDEN_HOSTS[::6]), "example.com"]:
        elsewhere = {"location": f"http://{host}:9/"}
        script = Scripted(status, elsewhere, (b"moved",), "text/plain")
        gateway.call(partial(gateway.sandbox.script, "moved", script))
        answer = ask(gateway, customer, stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_malformed")
        assert "location" not in answer.headers
    assert {address[1] for address in connects} <= {gateway.sandbox.port}


# What a request may not choose

CANARY_KEY = "sk-canary-of-the-provider-0123456789"
FIELDS: list[str] = [
    "api_base", "base_url", "baseUrl", "api_url", "url", "endpoint", "host", "hostname", "server",
    "azure_endpoint", "api_version", "api_type", "api_key", "apikey", "organization", "project",
    "extra_headers", "default_headers", "headers", "extra_query", "extra_body", "user_config",
    "litellm_params", "litellm_metadata", "custom_llm_provider", "provider", "providers", "router",
    "model_list", "fallbacks", "context_window_fallbacks", "proxy", "http_proxy", "https_proxy",
    "client", "http_client", "transport", "timeout", "aws_endpoint", "vertex_location", "webhook_url",
]  # fmt: skip


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A listener nobody must connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def was_called(canary: socket.socket) -> bool:
    try:
        connection, _ = canary.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def values_of(url: str) -> list[Any]:
    """The field as a URL, and nested where SDKs put such things."""
    headers = {"Host": url, "Authorization": "Bearer sk-theirs", "X-Forwarded-Host": url}
    nested = {
        "model": "target",
        "api_base": url,
        "base_url": url,
        "api_key": "sk-theirs",
        **headers,
    }
    return [url, [{"model_name": "target", "litellm_params": nested}]]


@sample(default=5, ci=12)
@cases("field", FIELDS)
def test_no_field_of_a_request_leads_the_call_or_the_key_elsewhere(
    gateway: LiveGateway, customer: Customer, canary: socket.socket, connects: list[Any], field: str
) -> None:
    url = f"http://127.0.0.1:{canary.getsockname()[1]}/v1"
    for door in ("chat", "responses"):
        row = rows.provider(door, gateway.sandbox.base_url, door, secret=CANARY_KEY)
        rows.alias(f"target-{door}", (row, "any"))
    for value in values_of(url):
        for door, path, said in (
            ("chat", "chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
            ("responses", "responses", {"input": "Hi"}),
        ):
            body = {"model": f"target-{door}", **said, field: value, "metadata": {field: url}}
            answer = httpx.post(
                f"{gateway.base_url}/{path}",
                json=body,
                headers=customer.headers,
                timeout=GIVE_UP_SECONDS,
            )
            assert answer.status_code in {200, 400}
            assert CANARY_KEY not in answer.text
    assert not was_called(canary)
    assert {address[1] for address in connects} <= {gateway.sandbox.port}
    sent = {call.headers["authorization"] for call in gateway.sandbox.calls}
    assert sent == {f"Bearer {CANARY_KEY}"}
    assert {call.headers["host"] for call in gateway.sandbox.calls} == {
        f"127.0.0.1:{gateway.sandbox.port}"
    }


def test_no_address_in_what_is_said_is_asked_for_by_us(
    gateway: LiveGateway, customer: Customer, connects: list[Any]
) -> None:
    """Pictures, files and tools of others are the provider's to fetch, or not."""
    for protocol in ("chat", "responses", "anthropic"):
        row = rows.provider(protocol, gateway.sandbox.base_url, protocol, secret=CANARY_KEY)
        rows.alias(f"target-{protocol}", (row, "any"))
    for host in sampled(FORBIDDEN_HOSTS, default=3, ci=10):
        url = f"http://{host}:9/picture.png"
        parts = [
            {"type": "input_image", "image_url": url},
            {"type": "input_file", "file_url": url},
        ]
        said: dict[str, Any] = {"input": [{"role": "user", "content": parts}]}
        tools = [{"type": "mcp", "server_label": "m", "server_url": url}]
        for protocol in ("chat", "responses", "anthropic"):
            for body in (said, {"input": "Hi", "tools": tools}):
                answer = httpx.post(
                    f"{gateway.base_url}/responses",
                    json={"model": f"target-{protocol}", **body},
                    headers=customer.headers,
                    timeout=GIVE_UP_SECONDS,
                )
                assert answer.status_code in {200, 400}
    assert gateway.sandbox.calls
    assert {address[1] for address in connects} <= {gateway.sandbox.port}


@cases(
    "header",
    ["host", "x-forwarded-host", "x-api-base", "x-base-url", "x-upstream", "forwarded", "via",
     "x-litellm-api-base", "x-portkey-custom-host", "helicone-target-url", "openai-organization",
     "x-codex-base-url", "cookie", "proxy-authorization"],
)  # fmt: skip
def test_no_header_of_a_request_leads_the_call_elsewhere(
    gateway: LiveGateway,
    customer: Customer,
    canary: socket.socket,
    connects: list[Any],
    header: str,
) -> None:
    url = f"http://127.0.0.1:{canary.getsockname()[1]}/v1"
    point_at(gateway.sandbox.base_url, allow_private=True)
    answer = httpx.post(
        f"{gateway.base_url}/responses",
        content=json.dumps({"model": "target", "input": "Hi"}),
        headers={**customer.headers, header: url},
        timeout=GIVE_UP_SECONDS,
    )
    assert answer.status_code in {200, 400}
    assert not was_called(canary)
    assert {address[1] for address in connects} <= {gateway.sandbox.port}
    for call in gateway.sandbox.calls:
        assert "authorization" not in call.headers
        assert "cookie" not in call.headers
        assert call.headers["host"] == f"127.0.0.1:{gateway.sandbox.port}"


# The policy itself

PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1"]
PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.1",
]
NEVER = ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "::127.0.0.1", "fec0::1"]


@cases("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    egress.check_address(address, allow_private=False)
    egress.check_address(address, allow_private=True)


@cases("address", PRIVATE)
def test_private_addresses_are_allowed_where_the_row_says_so(address: str) -> None:
    egress.check_address(address, allow_private=True)
    with pytest.raises(egress.ForbiddenAddress, match="refuses the address"):
        egress.check_address(address, allow_private=False)


@cases("address", [*NEVER, "", "localhost", "1.2.3", "::ffff:169.254.169.254"])
@cases("allow_private", [False, True])
def test_some_addresses_and_whatever_is_none_are_never_allowed(
    address: str, allow_private: bool
) -> None:
    with pytest.raises(egress.ForbiddenAddress):
        egress.check_address(address, allow_private=allow_private)


@cases("wrap", ["::ffff:{}", "64:ff9b::{}"])
@cases("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"])
def test_an_ipv4_address_inside_an_ipv6_one_is_judged_like_itself(wrap: str, address: str) -> None:
    with pytest.raises(egress.ForbiddenAddress):
        egress.check_address(wrap.format(address), allow_private=False)
    assert ipaddress.ip_address(wrap.format(address)).version == 6
