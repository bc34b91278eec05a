"""Every fault of the sandbox upstream goes wrong in the way its name says, in every protocol."""

import asyncio
import json
import zlib
from typing import Any

import httpx
import pytest

from gateway_project.sandbox import FAULTS
from tests.plugins.cases import cases, each_value
from tests.support.client import events_in
from tests.support.patience import GIVE_UP_SECONDS

# Of a client that does not wait for an answer, only for everything before it.
IMPATIENT = httpx.Timeout(GIVE_UP_SECONDS, read=0.05)

TEXT = "one two three four five six"
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/chat/completions",
        {
            "messages": [{"role": "user", "content": TEXT}],
            "stream_options": {"include_usage": True},
        },
    ),
    "responses": ("/responses", {"input": TEXT}),
    "anthropic": (
        "/messages",
        {"max_tokens": 10**8, "messages": [{"role": "user", "content": TEXT}]},
    ),
}
TERMINAL = {"chat": "[DONE]", "responses": "response.completed", "anthropic": "message_stop"}

STATUSES = {
    "400": 400,
    "401": 401,
    "403": 403,
    "404": 404,
    "413": 413,
    "422": 422,
    "429": 429,
    "429-retry-after": 429,
    "500": 500,
    "502": 502,
    "503": 503,
    "529": 529,
    "redirect": 302,
    "early-response": 413,
}
SILENT = {"silence", "200-then-silence", "headers-then-silence", "200-then-silence-after-n"}
BROKEN_OFF = {"cut", "cut-before-output", "cut-utf8", "cut-crlf", "reset"}
COMPLETE = {
    "utf8-split",
    "crlf-split",
    "gzip",
    "slow-drip",
    "wrong-content-type",
    "1xx",
    "no-usage",
    "usage-twice",
    "usage-decreasing",
    "cached-inclusive",
    "cached-exclusive",
    "negative-tokens",
    "huge-event",
    "duplicate-terminal",
    "trailing-after-done",
    "bad-json-frame",
}
WITH_A_TEST_OF_THEIR_OWN = {
    "429-insufficient-quota",
    "comments-only",
    "error-first",
    "error-mid",
    "clean-eof",
    "reset-keepalive",
    "bad-json-body",
    "html",
    "header-bomb",
    "never-ending",
    "connect-refused",
    "tls-fail",
    "accept-silence",
}

each_protocol = cases("protocol", REQUESTS)
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])


def request(fault, protocol, stream):
    path, body = REQUESTS[protocol]
    return {"url": path, "json": {"model": f"sandbox-fault-{fault}", "stream": stream} | body}


async def ask(http, fault, protocol, stream):
    return await http.post(**request(fault, protocol, stream))


async def stream_of(http, fault, protocol):
    return (await ask(http, fault, protocol, stream=True)).text


def usages_of(text):
    """Every usage object in a stream, wherever its protocol puts it."""
    found = []
    for frame in events_in(text.encode()):
        holder = frame.get("response") or frame.get("message") or frame
        found += [holder["usage"]] if holder.get("usage") else []
    return found


def output_tokens(usage):
    return usage.get("completion_tokens", usage.get("output_tokens"))


def test_every_fault_is_tested():
    tested = set(STATUSES) | SILENT | BROKEN_OFF | COMPLETE | WITH_A_TEST_OF_THEIR_OWN
    assert tested == set(FAULTS)


@each_protocol
@streamed_or_not
@cases("fault", STATUSES)
async def test_a_status_fault_refuses_with_that_status(sandbox, http, fault, protocol, stream):
    response = await ask(http, fault, protocol, stream)
    assert response.status_code == STATUSES[fault]
    assert response.headers.get("retry-after") == ("2" if fault == "429-retry-after" else None)
    await sandbox.idle()
    assert sandbox.calls[-1].ended == f"fault:{fault}"
    assert sandbox.calls[-1].usage is None


@each_protocol
@streamed_or_not
@cases("fault", sorted(SILENT))
async def test_a_silent_fault_keeps_the_client_waiting(sandbox, http, fault, protocol, stream):
    with pytest.raises(httpx.ReadTimeout):
        await http.post(**request(fault, protocol, stream), timeout=IMPATIENT)
    await sandbox.received(1)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await sandbox.idle()
    assert (sandbox.calls[-1].fault, sandbox.calls[-1].ended) == (fault, "client_closed")


@each_protocol
@streamed_or_not
@cases("fault", sorted(BROKEN_OFF))
async def test_a_broken_answer_is_seen_as_broken(sandbox, http, fault, protocol, stream):
    expected = httpx.ReadError if fault == "reset" else httpx.RemoteProtocolError
    with pytest.raises(expected):
        await ask(http, fault, protocol, stream)
    await sandbox.idle()
    assert sandbox.calls[-1].ended == f"fault:{fault}"


@each_value
@each_protocol
@streamed_or_not
@cases("fault", sorted(COMPLETE))
async def test_an_odd_answer_still_comes_to_its_end(sandbox, fault, protocol, stream):
    # Over a connection of its own: some leave bytes behind.
    async with httpx.AsyncClient(base_url=sandbox.base_url, timeout=GIVE_UP_SECONDS) as http:
        response = await ask(http, fault, protocol, stream)
    assert response.status_code == 200
    await sandbox.idle()
    assert sandbox.calls[-1].ended == f"fault:{fault}"
    if stream:
        assert TERMINAL[protocol] in response.text
    elif fault != "bad-json-frame":
        assert response.json()["model"] == f"sandbox-fault-{fault}"


async def received_raw(sandbox, fault, protocol):
    """All bytes of a stream up to the end of the connection, as they came over the socket."""
    reader, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
    asked = request(fault, protocol, stream=True)
    body = json.dumps(asked["json"]).encode()
    head = f"POST /v1{asked['url']} HTTP/1.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    received = await reader.read()
    writer.close()
    return received


@each_protocol
async def test_a_cut_comes_after_the_ordered_number_of_deltas(sandbox, protocol):
    assert b"three" not in await received_raw(sandbox, "cut", protocol)
    assert sandbox.calls[-1].text_bytes_sent == len("You said: one")
    assert b"You" not in await received_raw(sandbox, "cut-before-output", protocol)
    assert sandbox.calls[-1].text_bytes_sent == 0


@each_protocol
async def test_the_fine_cuts_are_where_they_should_be(sandbox, protocol):
    in_character = await received_raw(sandbox, "cut-utf8", protocol)
    assert in_character.endswith(b"Gr\xc3\r\n")
    in_newline = await received_raw(sandbox, "cut-crlf", protocol)
    assert in_newline.endswith(b"}\r\r\n")


@each_protocol
async def test_a_clean_end_is_no_terminal_event(http, protocol):
    assert TERMINAL[protocol] not in await stream_of(http, "clean-eof", protocol)
    with pytest.raises(json.JSONDecodeError):
        (await ask(http, "clean-eof", protocol, stream=False)).json()


@each_protocol
async def test_an_error_is_hidden_under_status_200(http, protocol):
    (error,) = events_in((await stream_of(http, "error-first", protocol)).encode())
    assert "error" in (error.get("type"), *error)
    assert "error" in (await ask(http, "error-first", protocol, stream=False)).json()


@each_protocol
async def test_an_error_comes_in_the_middle(http, protocol):
    text = await stream_of(http, "error-mid", protocol)
    assert '"You"' in text
    assert "error" in text
    assert TERMINAL[protocol] not in text
    assert "error" in (await ask(http, "error-mid", protocol, stream=False)).json()


@each_protocol
@streamed_or_not
async def test_a_quota_is_used_up(http, protocol, stream):
    response = await ask(http, "429-insufficient-quota", protocol, stream)
    assert response.status_code == (400 if protocol == "anthropic" else 429)
    message = response.json()["error"]["message"]
    assert "quota" in message or "credit balance" in message


@each_protocol
@streamed_or_not
async def test_comments_alone_are_no_answer(sandbox, http, protocol, stream):
    async with http.stream("POST", **request("comments-only", protocol, stream)) as response:
        first = await anext(response.aiter_raw())
    assert first == (b": keep-alive\n\n" if stream else b"\n")
    await sandbox.idle()
    assert sandbox.calls[-1].ended == "client_closed"


@each_protocol
@streamed_or_not
async def test_a_kept_connection_is_reset_on_its_next_request(http, protocol, stream):
    good = await ask(http, "reset-keepalive", protocol, stream)
    assert good.status_code == 200
    with pytest.raises(httpx.ReadError):
        await ask(http, "400", protocol, stream)


@each_protocol
@streamed_or_not
async def test_a_bad_body_is_no_json_and_a_web_page_is_a_web_page(http, protocol, stream):
    with pytest.raises(json.JSONDecodeError):
        (await ask(http, "bad-json-body", protocol, stream)).json()
    page = await ask(http, "html", protocol, stream)
    assert page.headers["content-type"].startswith("text/html")
    plain = await ask(http, "wrong-content-type", protocol, stream)
    assert plain.headers["content-type"].startswith("text/plain")


@each_protocol
async def test_one_frame_in_the_middle_is_no_json(http, protocol):
    with pytest.raises(json.JSONDecodeError):
        events_in((await stream_of(http, "bad-json-frame", protocol)).encode())


@each_protocol
@streamed_or_not
async def test_the_headers_are_too_many(http, protocol, stream):
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(http, "header-bomb", protocol, stream)


@each_protocol
@streamed_or_not
async def test_text_never_ends(sandbox, http, protocol, stream):
    size = 0
    async with http.stream("POST", **request("never-ending", protocol, stream)) as response:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > 1_000_000:
                break
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await sandbox.idle()
    assert sandbox.calls[-1].ended == "client_closed"


@each_protocol
async def test_the_terminal_comes_twice_and_more_follows_the_end(http, protocol):
    twice = await stream_of(http, "duplicate-terminal", protocol)
    line = f"data: {TERMINAL[protocol]}" if protocol == "chat" else f"event: {TERMINAL[protocol]}"
    assert twice.count(line) == 2
    trailing = await stream_of(http, "trailing-after-done", protocol)
    assert trailing.rpartition(TERMINAL[protocol])[2].count('"type":"trailing"') == 1


@each_protocol
async def test_usage_goes_wrong_in_streams(http, protocol):
    assert usages_of(await stream_of(http, "no-usage", protocol)) == []
    *_, before, last = usages_of(await stream_of(http, "usage-twice", protocol))
    assert before == last
    *_, before, last = usages_of(await stream_of(http, "usage-decreasing", protocol))
    assert output_tokens(before) == output_tokens(last) + 100
    *_, last = usages_of(await stream_of(http, "negative-tokens", protocol))
    assert output_tokens(last) == -1


@each_protocol
@streamed_or_not
async def test_cached_tokens_are_counted_in_or_beside_the_input(sandbox, http, protocol, stream):
    await ask(http, "cached-inclusive", protocol, stream)
    inside = sandbox.calls[-1].usage
    await ask(http, "cached-exclusive", protocol, stream)
    beside = sandbox.calls[-1].usage
    name = "prompt_tokens" if protocol == "chat" else "input_tokens"
    assert (inside[name], beside[name]) == (1000, 200)
    assert "800" in json.dumps(inside)
    assert "800" in json.dumps(beside)


@each_protocol
async def test_compression_comes_unasked(http, protocol):
    asked = request("gzip", protocol, stream=True)
    async with http.stream("POST", **asked, headers={"accept-encoding": "identity"}) as response:
        packed = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert TERMINAL[protocol].encode() in zlib.decompress(packed, wbits=31)


@each_protocol
async def test_lines_and_characters_are_split_between_chunks(sandbox, protocol):
    lines = await received_raw(sandbox, "crlf-split", protocol)
    assert b"\r\n2\r\n\n\r\r\n" in lines
    characters = await received_raw(sandbox, "utf8-split", protocol)
    assert b"Gr\xc3\r\n" in characters


@each_protocol
async def test_an_early_hint_precedes_the_answer(sandbox, protocol):
    hinted = await received_raw(sandbox, "1xx", protocol)
    assert hinted.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in hinted


@each_protocol
async def test_one_event_is_huge(http, protocol):
    longest = max((await stream_of(http, "huge-event", protocol)).splitlines(), key=len)
    assert len(longest) > 10 * 1024 * 1024


async def test_an_early_answer_does_not_wait_for_the_body(sandbox):
    reader, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
    head = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
    writer.write(head + b'{"model": "sandbox-fault-early-response", "input": "')
    assert (await reader.readline()) == b"HTTP/1.1 413 Request Entity Too Large\r\n"
    writer.close()


async def test_the_redirect_points_at_the_cloud_metadata_address(http):
    response = await ask(http, "redirect", "responses", stream=False)
    assert response.headers["location"] == "http://169.254.169.254/latest/meta-data/"


async def test_fault_urls_fail_before_there_is_a_request(sandbox, http):
    body = {"model": "sandbox", "input": "hello"}
    with pytest.raises(httpx.ConnectError):
        await http.post(f"{sandbox.fault_urls['connect-refused']}/responses", json=body)
    with pytest.raises(httpx.ConnectError, match="SSL"):
        await http.post(f"{sandbox.fault_urls['tls-fail']}/responses", json=body)
    silent = f"{sandbox.fault_urls['accept-silence']}/responses"
    with pytest.raises(httpx.ReadTimeout):
        await http.post(silent, json=body, timeout=IMPATIENT)
    assert len(sandbox.calls) == 0
