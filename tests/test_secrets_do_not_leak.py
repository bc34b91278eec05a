"""Secrets planted everywhere a secret can be, every path driven, and everything written searched."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_project.sandbox.faults import FAULTS, PREFIX
from tests.plugins.tiers import sampled
from tests.processes.conftest import provider  # noqa: F401 - a fixture used below by name
from tests.processes.served import Served, environment, manage, shell
from tests.support import warm
from tests.support.client import PATHS, V1, question
from tests.support.databases import copy_migrated
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.receiver import Receiver

UPSTREAM = {
    "plain": "upstreamcanaryplain4c1e9d",  # of no known shape: no scrubber can find it
    "shaped": "sk-proj-upstreamcanary0123456789abcdef",
}
CLIENT = {
    "cookie": "session=cookiecanary77aa12",
    "x-custom": "customheadercanary5521ab",
    "proxy-authorization": "Basic proxycanary9911ffee",
    "x-goog-api-key": "AIzagooglecanary0123456789abcdefgh",
}
COLLECTOR = "collectorcanary8812ab"
PROMPT = "promptcanary31ab99 sk-prompt-canary-0123456789abcdef"
NOT_TO_BE_STORED = "unstoredcanary77cd01"
# Not secrets of ours; a prompt must not be in logs or in the database, but a client may get its own back.
ENDLESS = {"never-ending", "comments-only", "huge-event", "header-bomb", "slow-drip"}
LEFT_ALONE = "401"  # opens a circuit: the second call may find out, the third is kept back
# Those below, and those with a status of their own.
NAMED = {LEFT_ALONE, "never-ending", "413", "422", "429", "503"}
OTHERS = [
    fault.name
    for fault in FAULTS.values()
    if not fault.has_own_port and "silence" not in fault.name and fault.name not in NAMED | ENDLESS
]
FAULTS_TO_PLAY = [*sorted(NAMED), *sampled(OTHERS, default=4, ci=12)]
# What the management API shows of what it has made, and where.
SHOWN_ONCE: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("keys", {"name": "made"}, "secret"),
    ("webhooks", {"url": "https://127.0.0.1:9/hook"}, "secret"),
    ("tokens", {"name": "made", "scopes": ["keys.view"]}, "secret"),
    ("users", {"username": "made", "role": "auditor"}, "password"),
    ("invitations", {"email": "made@example.com", "role": "viewer"}, "link"),
)
MANAGED = (
    "keys", "tokens", "webhooks", "credentials", "providers", "users", "invitations", "sessions", "audit",
    "requests", "configuration", "system", "metrics",
)  # fmt: skip
MANAGED_PAGES = (
    "tenants/apikey", "tenants/apitoken", "routing/credential", "responses_api/webhookendpoint",
    "tenants/invitation", "tenants/auditevent", "tenants/consolesession", "auth/user", "system",
)  # fmt: skip

SETUP = """
import json
from tests.support import rows
from routing.models import ProviderModel
customer = rows.customer("acme", allow_direct_targets=True)
upstream = {upstream!r}
for door in ("chat", "responses"):
    for name, secret in upstream.items():
        row = rows.provider(door, {url!r}, f"{{name}}-{{door}}", secret=secret)
        for model in ("good", {refusing!r}):
            ProviderModel.objects.create(provider=row, upstream_id=model)
    for fault in {faults!r}:
        for form in ("json", "stream"):
            name = f"plain-{{door}}-{{fault}}-{{form}}"
            row = rows.provider(door, {url!r}, name, secret=upstream["plain"])
            ProviderModel.objects.create(provider=row, upstream_id={prefix!r} + fault)
    gone = rows.provider(door, "http://127.0.0.1:9/v1", f"gone-{{door}}", secret=upstream["plain"])
    ProviderModel.objects.create(provider=gone, upstream_id="any")
from tenants.access.access import OPERATOR
from tenants.keys import api_tokens, play_tokens
from tests.support import console_session
person = console_session.operator()
play, _ = play_tokens.sign(customer.key.public_id, person.user.pk, person.session_id)
_, token = api_tokens.create(OPERATOR, "ci", ["*"], maker_id=person.user.pk)
print(json.dumps([customer.secret, play.reveal(), person.cookie, token.reveal()]))
"""


@dataclass(slots=True)
class Run:
    """The traces of one long run through all paths."""

    key: str
    play: str  # a token of the console's playground for that key
    session: str  # the cookie of the session that it was signed in
    token: str  # of the management API
    shown_once: list[str] = field(default_factory=list)  # in answers that are not among `answers`
    answers: list[httpx.Response] = field(default_factory=list)
    stderr: str = ""
    stdout: str = ""
    lines: list[dict[str, Any]] = field(default_factory=list)
    database: bytes = b""
    dump: str = ""
    traces: str = ""  # as a collector got them
    collector_headers: dict[str, str] = field(default_factory=dict)

    @property
    def own_secrets(self) -> list[str]:
        """The secrets that must appear nowhere: our keys, the provider's, and the client's headers."""
        headers = [value.rpartition("=")[2].rpartition(" ")[2] for value in CLIENT.values()]
        ours = [
            self.key,
            self.key[20:52],
            self.play,
            self.play[-64:],
            self.session,
            self.token[20:],
        ]
        return [*ours, *self.shown_once, *UPSTREAM.values(), *headers, COLLECTOR]


def setup(url: str, faults: Sequence[str] = FAULTS_TO_PLAY) -> str:
    """Return the script that makes a customer, and a provider at `url` for every way a call can go."""
    return SETUP.format(
        url=url,
        upstream=UPSTREAM,
        refusing=f"{PREFIX}400",
        faults=list(faults),
        prefix=PREFIX,
    )


@pytest.fixture(scope="module")
def run(provider: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:  # noqa: F811
    data_dir = tmp_path_factory.mktemp("leaks")
    variables = copy_migrated(tmp_path_factory, data_dir) | {
        "TOLLGATE_TOTAL_SECONDS": "1",
        "TOLLGATE_TOTAL_STREAM_SECONDS": "1",
        "TOLLGATE_LOG_LEVEL": "DEBUG",
        "TOLLGATE_TRACES_RATIO": "1",
        "TOLLGATE_OTLP_HEADERS": f"x-collector-key={COLLECTOR}",
    }
    gone_through = Run(*shell(variables, setup(provider.base_url)))
    with (
        Receiver() as collector,
        Served(variables | {"TOLLGATE_OTLP_ENDPOINT": collector.url_of("")}) as served,
    ):
        with httpx.Client(
            base_url=served.root_url, headers=CLIENT, timeout=GIVE_UP_SECONDS
        ) as client:
            gone_through.answers += everything(client, gone_through.key)
            gone_through.answers += played(client, gone_through)
            gone_through.answers += managed(client, gone_through)
        served.signal()
        served.wait()
        gone_through.stderr, gone_through.stdout = served.stderr, served.stdout
        gone_through.lines = served.lines
        gone_through.traces = "".join(each.body.decode() for each in collector.received)
        gone_through.collector_headers = collector.received[-1].headers
    gone_through.database, gone_through.dump = stored(data_dir, variables)
    return gone_through


def everything(
    client: httpx.Client, key: str, faults: Sequence[str] = FAULTS_TO_PLAY
) -> Iterator[httpx.Response]:
    """Every way a call can go: well, wrong at the provider, refused, and unreadable."""
    yield from good_and_faulty(client, key, faults)
    yield from refused(client, key)
    for path in (
        "/healthz",
        "/readyz",
        "/v1/models",
        "/v1/models/none",
        "/v1/nowhere",
        "/console/",
    ):
        yield client.get(path, headers={"authorization": f"Bearer {key}"})
        yield client.get(path, headers={"x-api-key": key[:-1] + "0"})


def good_and_faulty(
    client: httpx.Client, key: str, faults: Sequence[str]
) -> Iterator[httpx.Response]:
    bearer = {"authorization": f"Bearer {key}"}
    for door in PATHS:
        for stream in (False, True):
            targets = [f"plain-{door}/good", f"shaped-{door}/good", f"shaped-{door}/{PREFIX}400"]
            targets += [f"gone-{door}/any"]
            targets += [faulty(door, name, stream) for name in faults if name not in ENDLESS]
            targets += [faulty(door, LEFT_ALONE, stream)] * 2
            for target in targets:
                yield sent(client, door, bearer, json.dumps(question(door, target, PROMPT, stream)))
        unstored = question(door, f"plain-{door}/good", NOT_TO_BE_STORED, False) | {"store": False}
        yield sent(client, door, bearer, json.dumps(unstored))
        yield sent(
            client,
            door,
            bearer,
            json.dumps(question(door, faulty(door, "never-ending", True), "", True)),
        )


def faulty(door: str, fault: str, stream: bool) -> str:
    """The target that plays a fault for one call. It has a provider of its own: the circuit that the fault
    opens must keep no other call from the provider."""
    return f"plain-{door}-{fault}-{'stream' if stream else 'json'}/{PREFIX}{fault}"


def refused(client: httpx.Client, key: str) -> Iterator[httpx.Response]:
    wrong = [
        {},
        {"authorization": key},
        {"authorization": f"Basic {key}"},
        {"authorization": f"Bearer {key}x"},
        {"authorization": f"Bearer {key[:-1]}"},
        {"authorization": f"Bearer {key}", "x-api-key": key.swapcase()},
        {"x-api-key": key[::-1]},
        {"authorization": f"Bearer {key} " + "x" * 4000},
    ]
    bearer = {"authorization": f"Bearer {key}"}
    for door in PATHS:
        good = json.dumps(question(door, f"plain-{door}/good", PROMPT, False))
        for headers in wrong:
            yield sent(client, door, headers, good)
        for content in (
            "",
            "{",
            "[]",
            "null",
            good[:-1],
            good.replace(PROMPT, "\\ud800"),
            "\x00" * 50,
        ):
            yield sent(client, door, bearer, content)
        for model in (key, f"plain-{door}/{key}", "nobody"):
            yield sent(client, door, bearer, json.dumps(question(door, model, PROMPT, False)))
        yield client.get(V1 + PATHS[door], headers=bearer, params={"api_key": key})


def played(client: httpx.Client, run: Run) -> Iterator[httpx.Response]:
    """Calls with the playground's token, good and spoilt, and the console's socket and pages."""
    for text in (run.play, run.play[:-1], run.play + "0", run.play.upper()):
        for headers in ({"authorization": f"Bearer {text}"}, {"x-api-key": text}):
            for door in PATHS:
                good = json.dumps(question(door, f"plain-{door}/good", PROMPT, True))
                yield sent(client, door, headers, good)
            yield client.get("/v1/models", headers=headers)
            yield client.get("/api/v1/keys", headers=headers)
    cookie = {"cookie": f"sessionid={run.session}"}
    for path in ("/console/playground/", "/console/in-flight/", "/console/live/in-flight/"):
        yield client.get(path, headers=cookie)


def managed(client: httpx.Client, run: Run) -> Iterator[httpx.Response]:
    """Have the management API show secrets, each once, and then all that it shows; tokens spoilt and in wrong
    places; and pages that list what has secrets.
    """
    bearer, root = {"authorization": f"Bearer {run.token}"}, "/api/v1/"
    tenant = client.get(f"{root}tenants", headers=bearer).json()["data"][0]["id"]
    for path, body, name in SHOWN_ONCE:
        given = body if path == "users" else {**body, "tenant": tenant}
        made = client.post(root + path, json=given, headers=bearer)
        assert made.status_code == 201, made.text
        shown = made.json()[name]
        # Of a link its last part; a webhook's secret is Base64, in which a slash means nothing.
        run.shown_once.append(shown.rstrip("/").rpartition("/")[2] if name == "link" else shown)
    for text in (run.token[:-1], run.token + "0", run.token.swapcase()):
        yield client.get(f"{root}keys", headers={"authorization": f"Bearer {text}"})
    yield client.get(f"{root}keys/{run.token}", headers=bearer)
    yield client.get(f"{root}keys", params={"token": run.token}, headers=bearer)
    yield client.get("/v1/models", headers=bearer)
    yield client.post(f"{root}keys", json={"name": 5, "secret": run.token}, headers=bearer)
    for path in MANAGED:
        yield client.get(root + path, headers=bearer)
    cookie = {"cookie": f"sessionid={run.session}"}
    for page in MANAGED_PAGES:
        yield client.get(f"/console/{page}/", headers=cookie)
    link = f"/console/invitations/{run.shown_once[-1]}/"
    assert client.get(link).status_code == 200  # a page that knows its address
    yield client.post(link, data={"username": "eve"})  # from no form of ours


def sent(client: httpx.Client, door: str, headers: dict[str, str], content: str) -> httpx.Response:
    """The answer, its body read as far as it goes; a failed chat stream is cut on purpose."""
    typed = {"content-type": "application/json", **headers}
    request = client.build_request(
        "POST", V1 + PATHS[door], headers=typed, content=content.encode()
    )
    answer = client.send(request, stream=True)
    pieces: list[bytes] = []
    try:
        pieces.extend(answer.iter_raw())
    except httpx.RemoteProtocolError:
        assert b'"error"' in b"".join(pieces)
    finally:
        answer.close()
    body = b"".join(pieces)
    return httpx.Response(answer.status_code, headers=answer.headers, content=body, request=request)


def stored(data_dir: Path, variables: dict[str, str]) -> tuple[bytes, str]:
    """The database's files as they lie on the disk, and all rows as Django writes them."""
    with sqlite3.connect(data_dir / "tollgate.sqlite3") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    raw = b"".join(path.read_bytes() for path in data_dir.glob("tollgate.sqlite3*"))
    return raw, manage(variables, "dumpdata", "--natural-foreign")


def is_call(answer: httpx.Response) -> bool:
    return answer.request.method == "POST" and answer.request.url.path.startswith(f"{V1}/")


def headers_of(answer: httpx.Response) -> str:
    return "\n".join(f"{name}: {value}" for name, value in answer.headers.items())


def test_the_run_went_through_good_and_bad(run: Run) -> None:
    statuses = {answer.status_code for answer in run.answers}
    assert {200, 400, 401, 404, 405, 413, 422, 429, 502, 503} <= statuses
    assert 500 not in statuses
    assert len(run.answers) > 150
    # Every other call was sent: what is looked at below is what providers led to.
    calls = filter(is_call, run.answers)
    kept_back = [answer for answer in calls if b"can take a call now" in answer.content]
    assert len(kept_back) == 2 * len(PATHS)


def test_no_secret_is_in_the_log_or_on_the_terminal(run: Run) -> None:
    written = run.stderr + run.stdout
    assert [secret for secret in run.own_secrets if secret in written] == []
    assert "promptcanary31ab99" not in written
    assert "upstreamcanary" not in written


def test_no_secret_and_nothing_of_a_prompt_is_in_a_trace(run: Run) -> None:
    assert run.collector_headers["x-collector-key"] == COLLECTOR
    for answer in run.answers:
        if is_call(answer):
            assert answer.headers["x-request-id"] in run.traces
    assert [secret for secret in run.own_secrets if secret in run.traces] == []
    assert "promptcanary31ab99" not in run.traces
    assert "unstoredcanary" not in run.traces


def test_no_secret_is_in_the_database(run: Run) -> None:
    for secret in run.own_secrets:
        assert secret.encode() not in run.database
        assert secret not in run.dump
    assert b"promptcanary31ab99" in run.database  # which keeps what it was asked to keep
    assert NOT_TO_BE_STORED.encode() not in run.database


def test_no_secret_is_in_an_answer(run: Run) -> None:
    upstream_and_headers = [secret for secret in run.own_secrets if secret not in run.key]
    for answer in run.answers:
        told = headers_of(answer) + answer.content.decode(errors="replace")
        assert [secret for secret in upstream_and_headers if secret in told] == []


def test_a_key_is_not_even_repeated_to_its_owner(run: Run) -> None:
    for answer in run.answers:
        if answer.status_code != 404:  # a model name is quoted, and this run sends the key as one
            assert run.key[20:52] not in headers_of(answer) + answer.content.decode(
                errors="replace"
            )


def test_prompts_come_back_only_as_answers(run: Run) -> None:
    for answer in run.answers:
        assert "promptcanary31ab99" not in headers_of(answer)
        if answer.status_code >= 400:
            assert "promptcanary31ab99" not in answer.content.decode(errors="replace")


def test_every_answer_has_a_request_id_and_every_call_a_line_with_it(run: Run) -> None:
    ids = [answer.headers["x-request-id"] for answer in run.answers]
    assert len(set(ids)) == len(ids)
    logged = {line["request_id"]: line for line in run.lines if line.get("event") == "call"}
    for answer in run.answers:
        if is_call(answer):
            line = logged.pop(answer.headers["x-request-id"])
            assert line["http_status"] == answer.status_code
    assert logged == {}


def test_the_settings_tell_no_secret_when_they_are_wrong(tmp_path: Path) -> None:
    secret = "settingscanary88123aa"
    wrong = {
        "DATABASE_URL": f"mysql://user:{secret}@db/x",
        "TOLLGATE_KEY_PEPPERS": f"k1:{secret}",
        "TOLLGATE_KEY_ENCRYPTION_KEYS": f"k1:{secret}",
    }
    for name, value in wrong.items():
        variables = environment(tmp_path, **{name: value})
        ended = warm.run(["manage.py", "doctor"], variables, GIVE_UP_SECONDS)
        assert secret not in ended.stdout + ended.stderr
        assert name in ended.stdout + ended.stderr
