"""The helpers everything stands on: secrets, keyrings, sealing, caches, addresses, settings and keys."""

from __future__ import annotations

import asyncio
import base64
import copy
import hmac
import json
import logging
import pickle
import string
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import RFC_4122, UUID

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from gateway_project.lib import clock, hosts, ids, keyring, sealing
from gateway_project.lib.cache import LoadingCache, StoreUnavailable
from gateway_project.lib.client_address import TrustedProxies, client_address
from gateway_project.lib.env import Env, SettingError
from gateway_project.lib.keyring import Keyring, KeyringError
from gateway_project.lib.log import CallLog, ConsoleFormatter, JsonFormatter, scrub_text
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Credential
from tenants.keys import caller, key_format, keys, peppers
from tenants.models import KeySecret, Tenant
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer

BASE62 = string.digits + string.ascii_letters

# Secret


@cases(
    "shown",
    [
        str,
        repr,
        "{}".format,
        "{:>30}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: f"{[secret]}",
        lambda secret: f"{ ({'key': secret}) }",
        lambda secret: "%s" % secret,  # noqa: UP031 - logging formats like this
        lambda secret: json.dumps(secret, default=str),
        lambda secret: orjson.dumps(secret, default=str).decode(),
        lambda secret: str(ValueError(secret)),
    ],
)
def test_a_secret_shows_itself_nowhere(shown: Callable[[Secret], str]) -> None:
    assert "hunter2hunter2" not in shown(Secret("hunter2hunter2"))
    assert "***" in shown(Secret("hunter2hunter2"))


@cases("copied", [pickle.dumps, copy.deepcopy])
def test_a_secret_is_neither_pickled_nor_copied(copied: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        copied(Secret("hunter2"))


def test_a_secret_gives_itself_only_when_asked_by_name() -> None:
    secret = Secret("hunter2hunter2")
    assert secret.reveal() == "hunter2hunter2"
    assert (secret.last_four, Secret("short").last_four) == ("ter2", "")
    assert (secret == Secret("hunter2hunter2"), secret == "hunter2hunter2") == (True, False)
    assert len({secret, Secret("hunter2hunter2")}) == 1
    assert (bool(secret), bool(Secret(""))) == (True, False)
    assert not hasattr(secret, "__dict__")


def test_a_secret_in_a_log_record_is_masked_and_what_looks_like_one_is_scrubbed() -> None:
    key = key_format.new_key("0123456789").reveal()
    record = logging.LogRecord(
        "x", logging.INFO, "", 0, "%s and %s", (Secret("plain-one"), key), None
    )
    record.extra_field = f"Bearer {key}"
    for formatter in (JsonFormatter(), ConsoleFormatter()):
        line = formatter.format(record)
        assert "plain-one" not in line
        assert key[20:] not in line


@cases(
    "text",
    [
        "sk-proj-abcdefghijklmnop0123",
        "gsk_abcdefghijklmnop0123",
        "AIzaSyA0123456789abcdefghijklmnopqrs",
        "Bearer abcdefgh.ijkl-mnop",
        "bearer   abcdefghijkl",
        "tg_live_0123456789_abcdefghij",
        "tg_test_0123456789_abcdefghijklmnopqrstuvwxyz012345678901",
        f"tg_play_0123456789_{'0a' * 32}_{'1b' * 32}",
        f"tg_inv_{'0aB' * 10}12",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/==",
    ],
)
def test_what_looks_like_a_credential_is_scrubbed_from_text(text: str) -> None:
    assert scrub_text(f"before {text} after") == "before *** after"


def test_the_address_where_somebody_chooses_a_password_is_scrubbed_from_text() -> None:
    assert scrub_text("x/password/reset/key/4-c8x-0123abc/ y") == "x/password/reset/key/***/ y"


def test_a_log_that_cannot_be_written_loses_a_line_and_nothing_else() -> None:
    log = CallLog(-1, as_json=True)
    log.write({"event": "call"})
    assert log.lost_lines == 1


# Keyrings


def entry(key_id: str, byte: int = 1) -> str:
    return f"{key_id}:{base64.b64encode(bytes([byte]) * 32).decode()}"


def test_a_keyring_is_generated_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ring"
    first = keyring.from_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyring.from_file(path).current == first.current
    assert len(first.current[1]) == 32
    assert [file.name for file in path.parent.iterdir()] == ["ring"]


def _current_of(path: Path, barrier: threading.Barrier) -> tuple[str, bytes]:
    barrier.wait()
    return keyring.from_file(path).current


def test_threads_that_generate_a_keyring_at_once_get_the_same_one(tmp_path: Path) -> None:
    for attempt in range(30):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(_current_of, [tmp_path / f"ring-{attempt}"] * 8, [barrier] * 8)
        assert len(set(found)) == 1


GENERATE_MANY = """
import sys
from pathlib import Path
from uuid import RFC_4122, UUID
from gateway_project.lib import keyring
for number in range(200):
    print(keyring.from_file(Path(sys.argv[1]) / str(number)).current)
"""


def test_processes_that_generate_keyrings_at_once_get_the_same_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GENERATE_MANY, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = {process.communicate(timeout=GIVE_UP_SECONDS)[0] for process in running}
    assert len(printed) == 1
    assert len(set(printed.pop().splitlines())) == 200


def test_a_key_that_was_added_later_is_found_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    running = keyring.from_file(path)
    (old_id, old_key) = running.current
    keyring.add_key(path, "k2")
    new_key = running.get("k2")
    assert running.current == ("k2", new_key)
    assert running.get(old_id) == old_key
    assert path.stat().st_mode & 0o777 == 0o600


@cases(
    ("text", "complaint"),
    [
        ("", "holds no key"),
        (" ,\n", "holds no key"),
        ("k1", "has"),
        ("k1:", "has 0 bytes, not 32"),
        ("k1:!!!!", "base64|bytes"),
        (f"k1:{base64.b64encode(b'x' * 31).decode()}", "has 31 bytes, not 32"),
        (f"{entry('k1')},{entry('k1')}", "appears twice"),
        (entry("k 1"), "a key id is|bytes"),
        (entry("ü"), "a key id is"),
        (entry("x" * 17), "a key id is"),
    ],
)
def test_a_malformed_keyring_says_what_is_wrong_and_not_what_is_in_it(
    text: str, complaint: str
) -> None:
    with pytest.raises(KeyringError, match=complaint) as raised:
        Keyring(lambda: text, "RING")
    assert str(raised.value).startswith("RING")
    assert base64.b64encode(b"\x01" * 32).decode() not in str(raised.value)


def test_the_first_key_is_for_new_work_and_an_unknown_one_is_an_error() -> None:
    ring = Keyring(lambda: f"{entry('new', 2)}, {entry('old', 1)}\n", "RING")
    assert ring.current == ("new", b"\x02" * 32)
    assert list(ring.all()) == ["new", "old"]
    assert repr(ring) == "Keyring(RING: new, old)"
    with pytest.raises(KeyringError, match="no key 'gone'"):
        ring.get("gone")


# Sealing


def ring_of(*entries: str) -> Keyring:
    return Keyring(lambda: ",".join(entries), "RING")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_what_was_sealed_for_a_place_opens_there(plain: str, place: str) -> None:
    ring = ring_of(entry("k1"))
    sealed = sealing.seal(Secret(plain), place, ring)
    assert sealing.unseal(sealed, place, ring).reveal() == plain
    assert sealing.key_id_of(sealed) == "k1"


def test_the_same_secret_never_looks_the_same_twice() -> None:
    ring = ring_of(entry("k1"))
    assert len({sealing.seal(Secret("x"), "here", ring) for _ in range(100)}) == 100


def test_a_sealed_value_opens_nowhere_else() -> None:
    ring = ring_of(entry("k1"))
    sealed = sealing.seal(Secret("x"), "table|column|1|row-1", ring)
    for elsewhere in ("table|column|2|row-1", "table|column|1|row-2", "table|other|1|row-1", ""):
        with pytest.raises(SealError, match="damaged or belongs to another row"):
            sealing.unseal(sealed, elsewhere, ring)


def test_a_sealed_value_opens_with_no_other_key() -> None:
    sealed = sealing.seal(Secret("x"), "here", ring_of(entry("k1", 1)))
    with pytest.raises(SealError):
        sealing.unseal(sealed, "here", ring_of(entry("k1", 2)))
    with pytest.raises(KeyringError, match="no key 'k1'"):
        sealing.unseal(sealed, "here", ring_of(entry("k2", 1)))


def test_every_changed_character_of_a_sealed_value_is_noticed() -> None:
    ring = ring_of(entry("k1"))
    sealed = sealing.seal(Secret("a secret"), "here", ring)
    for place, character in enumerate(sealed):
        other = "A" if character != "A" else "Q"
        with pytest.raises((SealError, KeyringError)):
            sealing.unseal(sealed[:place] + other + sealed[place + 1 :], "here", ring)


@cases(
    "sealed",
    [
        "",
        "plain text",
        "v1.k1.x",
        "v2.k1.AAAA.AAAA",
        "v1.k1..",
        "v1.k1.AAAA.AAAA.AAAA",
        "v1.k1.ü.ü",
    ],
)
def test_what_is_no_sealed_value_never_falls_open(sealed: str) -> None:
    with pytest.raises(SealError):
        sealing.unseal(sealed, "here", ring_of(entry("k1")))


# The loading cache


class Store:
    """Counts its loads; each waits until it is let go, if it is told to."""

    def __init__(self, *values: str | type[Exception] | None) -> None:
        self._values = list(values)
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> str | None:
        self.loads += 1
        value = self._values.pop(0) if len(self._values) > 1 else self._values[0]
        await self.gate.wait()
        if isinstance(value, type):
            raise value("away")
        return value


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock forward by so many seconds."""
    time = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])

    def forward(seconds: float) -> None:
        time[0] += seconds

    return forward


def cache(**changes: float) -> LoadingCache[str, str]:
    limits = {"fresh_seconds": 10.0, "stale_seconds": 60.0, "max_entries": 3, "max_absent": 2}
    return LoadingCache(**{**limits, **changes})  # type: ignore[arg-type]


async def test_a_value_is_loaded_once_while_it_is_fresh(now: Callable[[float], None]) -> None:
    kept, store = cache(), Store("one", "two")
    assert kept.fresh("a") is None
    assert [await kept.get("a", store.load) for _ in range(3)] == ["one"] * 3
    assert (kept.fresh("a"), store.loads) == ("one", 1)
    now(9.9)
    assert kept.fresh("a") == "one"
    now(0.2)
    assert kept.fresh("a") is None
    assert (await kept.get("a", store.load), store.loads) == ("two", 2)


async def test_callers_that_ask_at_once_share_one_load() -> None:
    kept, store = cache(), Store("one")
    store.gate.clear()
    asked = [asyncio.create_task(kept.get("a", store.load)) for _ in range(20)]
    await asyncio.sleep(0)
    asked[0].cancel()  # one that goes away does not take the load with it
    store.gate.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == ["one"] * 19
    assert store.loads == 1


async def test_what_was_being_loaded_when_the_cache_was_cleared_is_not_kept() -> None:
    kept, store = cache(), Store("before the change", "after it")
    store.gate.clear()
    first = asyncio.create_task(kept.get("a", store.load))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    kept.clear()
    second = asyncio.create_task(kept.get("a", store.load))
    await asyncio.sleep(0)
    store.gate.set()
    assert await second == "after it"
    await first
    assert kept.fresh("a") == "after it"


async def test_an_absent_value_is_remembered_apart_and_bounded() -> None:
    kept, store = cache(), Store(None)
    for name in ("a", "a", "b", "c"):
        assert await kept.get(name, store.load) is None
    assert store.loads == 3
    assert (len(kept), len(kept._absent)) == (0, 2)
    assert await kept.get("a", store.load) is None  # the oldest was forgotten
    assert store.loads == 4


async def test_the_oldest_entry_makes_room_for_a_new_one() -> None:
    kept = cache()
    for name in "abcd":
        await kept.get(name, Store(name).load)
    assert (len(kept), kept.fresh("a"), kept.fresh("d")) == (3, None, "d")


async def test_a_value_that_became_absent_is_forgotten(now: Callable[[float], None]) -> None:
    kept, store = cache(), Store("one", None)
    await kept.get("a", store.load)
    now(11)
    assert await kept.get("a", store.load) is None
    assert len(kept) == 0


async def test_an_old_value_is_served_while_the_store_is_away(now: Callable[[float], None]) -> None:
    kept, store = cache(), Store("one", StoreUnavailable)
    await kept.get("a", store.load)
    now(59)
    assert await kept.get("a", store.load) == "one"
    now(2)
    with pytest.raises(StoreUnavailable):
        await kept.get("a", store.load)
    with pytest.raises(StoreUnavailable):
        await kept.get("b", store.load)


async def test_after_a_clear_nothing_old_is_served_although_the_store_is_away() -> None:
    kept, store = cache(), Store("one", StoreUnavailable)
    await kept.get("a", store.load)
    kept.clear()
    with pytest.raises(StoreUnavailable):
        await kept.get("a", store.load)


async def test_a_failed_load_is_tried_again_by_the_next_caller() -> None:
    kept, store = cache(), Store(ZeroDivisionError, "one")
    with pytest.raises(ZeroDivisionError):
        await kept.get("a", store.load)
    assert await kept.get("a", store.load) == "one"
    assert kept._loading == {}


async def test_a_load_nobody_waits_for_any_more_fails_in_silence() -> None:
    kept, store = cache(), Store(ZeroDivisionError)
    store.gate.clear()
    asked = asyncio.create_task(kept.get("a", store.load))
    await asyncio.sleep(0)
    asked.cancel()
    store.gate.set()
    await asyncio.gather(asked, return_exceptions=True)
    loading: Awaitable[str | None] | None = kept._loading.get("a")
    if loading is not None:
        await asyncio.gather(loading, return_exceptions=True)
    assert kept.fresh("a") is None


# The client's address

PEER = ("10.0.0.5", 4711)


@cases(
    ("peer", "forwarded", "trusted", "expected"),
    [
        (PEER, [], [], "10.0.0.5"),
        (None, ["1.2.3.4"], ["10.0.0.0/8"], ""),
        (PEER, ["1.2.3.4"], [], "10.0.0.5"),
        (PEER, ["1.2.3.4"], ["192.168.0.0/16"], "10.0.0.5"),
        (PEER, ["1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        (PEER, ["1.2.3.4"], ["10.0.0.5"], "1.2.3.4"),
        (PEER, ["6.6.6.6, 1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        (PEER, ["6.6.6.6, 1.2.3.4, 10.0.0.9"], ["10.0.0.0/8"], "1.2.3.4"),
        (PEER, ["6.6.6.6", "1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        (PEER, ["10.0.0.1, 10.0.0.2"], ["10.0.0.0/8"], "10.0.0.1"),
        (PEER, [""], ["10.0.0.0/8"], "10.0.0.5"),
        (PEER, ["1.2.3.4,"], ["10.0.0.0/8"], "10.0.0.5"),
        (PEER, ["6.6.6.6, not an address"], ["10.0.0.0/8"], "10.0.0.5"),
        (PEER, ["6.6.6.6, unknown, 10.0.0.9"], ["10.0.0.0/8"], "10.0.0.9"),
        (PEER, ["6.6.6.6:4711"], ["10.0.0.0/8"], "6.6.6.6"),
        (PEER, ["[2001:db8::9]:4711"], ["10.0.0.0/8"], "2001:db8::9"),
        (("::ffff:10.0.0.5", 1), ["1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        (("2001:db8::5", 1), ["2001:db8::9"], ["2001:db8::/64"], "2001:db8::9"),
        (("a unix socket", 0), ["1.2.3.4"], ["0.0.0.0/0"], "a unix socket"),
    ],
)
def test_the_clients_address_is_what_trusted_proxies_say_read_from_the_right(
    peer: tuple[str, int] | None, forwarded: list[str], trusted: list[str], expected: str
) -> None:
    headers = [(b"host", b"x"), *((b"x-forwarded-for", value.encode()) for value in forwarded)]
    proxies = TrustedProxies(hosts.network(text) for text in trusted)
    assert client_address(peer, headers, proxies) == expected


def test_a_key_that_is_bound_to_a_network_is_refused_from_elsewhere(
    gateway: LiveGateway, acme: Customer
) -> None:
    acme.key.allowed_networks = ["203.0.113.0/24"]
    acme.key.save()
    gateway.call(gateway.worker.forget)
    answer = httpx.post(
        f"{gateway.base_url}/responses",
        json={"model": "sandbox-responses", "input": "Hi"},
        headers={**acme.headers, "x-forwarded-for": "203.0.113.7"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")


# Settings


def test_settings_that_are_absent_or_empty_take_their_default() -> None:
    for variables in ({}, {"X": ""}):
        env = Env(variables)
        assert env.text("X", "default") == "default"
        assert env.boolean("X", default=True) is True
        assert env.integer("X", 7) == 7
        assert env.seconds("X", 1.5) == 1.5
        assert env.words("X", ("a",)) == ["a"]
        assert env.secret("X") is None
        assert env.choice("X", ("a", "b"), "b") == "b"


def test_settings_are_read_as_what_they_are() -> None:
    env = Env({"B": "Yes", "N": "off", "I": "42", "S": "0.25", "W": " a, b ,,c ", "T": "text"})
    assert (env.boolean("B"), env.boolean("N", default=True)) == (True, False)
    assert (env.integer("I", 0), env.seconds("S", 0)) == (42, 0.25)
    assert (env.words("W"), env.text("T")) == (["a", "b", "c"], "text")


@cases(
    ("read", "value"),
    [
        (lambda env: env.boolean("X"), "maybe"),
        (lambda env: env.integer("X", 1), "1.5"),
        (lambda env: env.integer("X", 1), "ten"),
        (lambda env: env.integer("X", 1, at_least=5), "4"),
        (lambda env: env.seconds("X", 1), "-1"),
        (lambda env: env.seconds("X", 1), "nan"),
        (lambda env: env.seconds("X", 1), "inf"),
        (lambda env: env.seconds("X", 1), "1e300"),
        (lambda env: env.integer("X", 1, at_most=65_535), "65536"),
        (lambda env: env.choice("X", ("a", "b"), "a"), "c"),
    ],
)
def test_an_unusable_setting_is_named_and_quoted(read: Callable[[Env], object], value: str) -> None:
    with pytest.raises(SettingError) as raised:
        read(Env({"X": value}))
    assert str(raised.value).startswith(f"X is {value!r}; expected")


def test_a_secret_comes_from_the_variable_or_from_a_file_and_not_from_both(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  from file\n")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    assert Env({"X": "direct"}).secret("X") == Secret("direct")
    assert Env({"X_FILE": str(path)}).secret("X") == Secret("from file")
    with pytest.raises(SettingError, match="Both X and X_FILE"):
        Env({"X": "direct", "X_FILE": str(path)}).secret("X")
    with pytest.raises(SettingError, match="X_FILE: cannot read"):
        Env({"X_FILE": str(tmp_path / "none")}).secret("X")
    with pytest.raises(SettingError, match="is empty"):
        Env({"X_FILE": str(empty)}).secret("X")


# Keys

public_ids = st.text(BASE62, min_size=10, max_size=10)
secrets_of_keys = st.text(BASE62, min_size=32, max_size=32)


def key_of(public_id: str, secret: str, kind: str = "live") -> str:
    text = f"tg_{kind}_{public_id}_{secret}"
    return text + key_format.checksum(text)


@given(public_ids)
def test_a_new_key_is_well_formed_and_names_its_id(public_id: str) -> None:
    key = key_format.new_key(public_id).reveal()
    assert key_format.is_well_formed(key)
    assert key.startswith(f"tg_live_{public_id}_")
    assert len(key) == 57


@given(public_ids, secrets_of_keys, st.data())
def test_any_one_changed_character_makes_a_key_malformed(
    public_id: str, secret: str, data: st.DataObject
) -> None:
    key = key_of(public_id, secret)
    assert key_format.is_well_formed(key)
    place = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(BASE62 + "_- .\x00é\n").filter(lambda c: c != key[place]))
    assert not key_format.is_well_formed(key[:place] + other + key[place + 1 :])


def test_every_single_character_change_of_a_key_is_rejected() -> None:
    key = key_format.new_key(ids.base62(10)).reveal()
    changed = {
        key[:place] + other + key[place + 1 :]
        for place in range(len(key))
        for other in BASE62
        if other != key[place]
    }
    assert len(changed) > 3000
    assert not any(map(key_format.is_well_formed, changed))


@cases("change", [lambda k: k + "\n", lambda k: " " + k, lambda k: k[:-1], lambda k: k * 2])
def test_a_key_with_anything_around_it_is_malformed(change: Callable[[str], str]) -> None:
    assert not key_format.is_well_formed(change(key_of("0" * 10, "a" * 32)))


@given(public_ids, secrets_of_keys, st.integers(0, 31), st.sampled_from(BASE62))
def test_well_formed_keys_that_differ_in_one_character_have_different_digests(
    public_id: str, secret: str, place: int, other: str
) -> None:
    sibling = secret[:place] + other + secret[place + 1 :]
    one, two = key_of(public_id, secret), key_of(public_id, sibling)
    assert (peppers.digest(one) == peppers.digest(two)) == (one == two)
    assert len(peppers.digest(one)) == 32


@given(st.binary(min_size=1, max_size=200), st.text(st.characters(codec="utf-8")))
def test_a_digest_is_the_standard_librarys_hmac(pepper: bytes, text: str) -> None:
    assert peppers.hmac_sha256(pepper, text) == hmac.digest(pepper, text.encode(), "sha256")


def test_a_key_never_answers_for_one_that_differs_in_a_single_character(
    gateway: LiveGateway, acme: Customer
) -> None:
    """The cache is keyed by the whole digest. Both orders: good key first, and the other first."""
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hi"}]}
    public_id, secret = acme.secret[8:18], acme.secret[19:51]
    with httpx.Client(base_url=gateway.base_url) as client:

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return client.post("/chat/completions", json=body, headers=headers).status_code

        assert status(acme.secret) == 200
        for place in range(32):
            other = "x" if secret[place] != "x" else "y"
            sibling = key_of(public_id, secret[:place] + other + secret[place + 1 :])
            assert (status(sibling), status(acme.secret)) == (401, 200)
        assert status(key_of(public_id, secret, kind="test")) == 401


# Rotation of what is outside the database


@pytest.fixture
def rings(settings: Settings) -> Iterator[Callable[..., None]]:
    """Set the peppers and the key-encryption keys of this process."""

    def set_rings(*entries: str) -> None:
        settings.KEY_PEPPERS = settings.KEY_ENCRYPTION_KEYS = lambda: ring_of(*entries)
        peppers.keyring.cache_clear()
        credentials.keyring.cache_clear()

    yield set_rings
    peppers.keyring.cache_clear()
    credentials.keyring.cache_clear()


@pytest.mark.persistence
@pytest.mark.django_db
def test_a_key_moves_to_the_new_pepper_at_its_next_use(rings: Callable[..., None]) -> None:
    rings(entry("old", 1))
    _, secret = keys.create(Tenant.objects.create(slug="a", name="A"), "key")
    before = KeySecret.objects.get()

    rings(entry("new", 2), entry("old", 1))
    assert caller.find(secret.reveal()) is not None
    after = KeySecret.objects.get()
    assert (before.pepper_id, after.pepper_id) == ("old", "new")
    assert bytes(before.digest) != bytes(after.digest)

    rings(entry("new", 2))
    assert caller.find(secret.reveal()) is not None
    rings(entry("other", 3))
    assert caller.find(secret.reveal()) is None


@pytest.mark.persistence
@pytest.mark.django_db
def test_credentials_are_wrapped_again_with_the_new_key(rings: Callable[..., None]) -> None:
    rings(entry("old", 1))
    tenant = Tenant.objects.create(slug="a", name="A")
    provider = rows.provider("chat", "https://api.example.com/v1", "p", auth_kind="bearer")
    made = [
        credentials.create(provider, Secret(f"secret-number-{n}"), name=str(n)) for n in range(3)
    ]
    made.append(credentials.create(provider, Secret("secret-number-3"), tenant=tenant))

    rings(entry("new", 2), entry("old", 1))
    assert (credentials.rewrap_all(), credentials.rewrap_all()) == (4, 0)
    rings(entry("new", 2))
    for number, row in enumerate(made):
        row.refresh_from_db()
        assert sealing.key_id_of(row.sealed_secret) == "new"
        assert credentials.reveal(row) == Secret(f"secret-number-{number}")


@pytest.mark.persistence
@pytest.mark.django_db
def test_a_credential_copied_into_another_row_or_tenant_does_not_open() -> None:
    tenant = Tenant.objects.create(slug="a", name="A")
    provider = rows.provider("chat", "https://api.example.com/v1", "p", auth_kind="bearer")
    one = credentials.create(provider, Secret("secret-of-one-0001"), name="one")
    two = credentials.create(provider, Secret("secret-of-two-0002"), name="two")
    Credential.objects.filter(pk=two.pk).update(sealed_secret=one.sealed_secret)
    two.refresh_from_db()
    with pytest.raises(SealError):
        credentials.reveal(two)
    one.tenant = tenant
    with pytest.raises(SealError):
        credentials.reveal(one)


def test_a_target_whose_credential_cannot_be_opened_is_not_called(
    gateway: LiveGateway, acme: Customer
) -> None:
    provider = rows.provider(
        "chat", gateway.sandbox.base_url, "locked", secret="secret-of-locked-1"
    )
    rows.alias("locked", (provider, "any"))
    first = Credential.objects.get(provider=provider)
    other = credentials.create(provider, Secret("another-secret-0001"), name="other")
    # Neither of the pool opens: each has what was sealed for the other.
    for row, moved in ((first, other), (other, first)):
        Credential.objects.filter(pk=row.pk).update(sealed_secret=moved.sealed_secret)
    body = {"model": "locked", "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=acme.headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "upstream_auth_failed")
    assert "no usable credential" in error["message"]
    assert len(gateway.sandbox.calls) == 0


def test_ids_with_a_time_are_in_its_order(monkeypatch: pytest.MonkeyPatch):
    at = clock.now()
    made = []
    for offset in (-0.001, 0, 60):
        monkeypatch.setattr(clock, "timestamp", lambda o=offset: at.timestamp() + o)
        made.append(ids.uuid7())

    before, same, after = made
    assert before < ids.first_uuid7(at) <= same < after
    assert [made_id.version for made_id in made] == [7, 7, 7]


def test_request_ids_are_uuids_of_version_7_with_room_for_the_requests_calls():
    made = [ids.request_id() for _ in range(1_000)]
    assert len(set(made)) == len(made)
    for request_id in made:
        known = UUID(request_id.removeprefix("req_"))
        assert (known.version, known.variant, known.int & 0xFFFF) == (7, RFC_4122, 0)


FORKING = """
import os
from gateway_project.lib import clock, ids
clock.timestamp = lambda: 1_800_000_000.0
for _ in range(2):
    if os.fork() == 0:
        break
os.write(1, ids.request_id().encode() + b"\\n")  # whole, beside two others who write
"""


def test_a_forked_process_does_not_go_on_with_its_parents_request_ids():
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, check=True)
    assert len(set(run.stdout.split())) == 3
