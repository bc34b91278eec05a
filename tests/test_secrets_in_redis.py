"""Secrets planted everywhere, every path driven with Redis and Celery, and all that reached Redis searched:
each command with its values, what tasks are sent with, and what is left there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.plugins.tiers import by_tier
from tests.processes.conftest import (
    provider,  # noqa: F401 - a fixture used below by name
)
from tests.processes.served import Program, Served, eventually, manage, shell
from tests.support.client import V1
from tests.support.databases import copy_migrated
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.redis_server import RedisServer
from tests.test_secrets_do_not_leak import (
    CLIENT,
    FAULTS_TO_PLAY,
    NAMED,
    PROMPT,
    Run,
    everything,
    played,
    setup,
)

pytestmark = [pytest.mark.redis, pytest.mark.long]

# What a fault leaves in logs and rows the module beside this one looks at; here it is what calls tell Redis.
FAULTS = by_tier(sorted(NAMED), sorted(NAMED), FAULTS_TO_PLAY)
TYPED = "passwordcanary88cd12typed"  # into the wrong field, too
WEBHOOK = """
import json
from responses_api.webhooks import endpoints
from tenants.models import Tenant
tenant = Tenant.objects.get(slug="acme")
_, secret = endpoints.create(tenant, "https://127.0.0.1:9/hook", allow_private_network=True)
print(json.dumps(secret.reveal()))
"""


@dataclass(slots=True)
class Traces:
    secrets: list[str]
    heard: str
    tasks: str
    left: str


@pytest.fixture(scope="module")
def traces(provider: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:  # noqa: F811
    data_dir = tmp_path_factory.mktemp("redis-leaks")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    variables = copy_migrated(tmp_path_factory, data_dir) | {
        "REDIS_URL": "",
        "TOLLGATE_TASKS": "celery",
        "TOLLGATE_TOTAL_SECONDS": "1",
        "TOLLGATE_TOTAL_STREAM_SECONDS": "1",
        "TOLLGATE_IP_LIMITS": "1000000 requests/minute",
        "TOLLGATE_KEY_LIMITS": "1000000 requests/minute, 1000000000 tokens/minute",
        "TOLLGATE_FAILED_AUTH_LIMIT": "1000000 requests/minute",
    }
    server.start()
    try:
        variables["REDIS_URL"] = server.url
        yield _went(server, variables, provider.base_url)
    finally:
        server.stop()


def _went(server: RedisServer, variables: dict[str, str], upstream: str) -> Traces:
    """Go through everything; return what was planted, and what of it could be in Redis."""
    planted = Run(*shell(variables, setup(upstream, FAULTS)))
    secrets = [*planted.own_secrets, TYPED, PROMPT, shell(variables, WEBHOOK)]
    made = json.loads(manage(variables, "create_token", "--name", "ci", "--json"))
    grace = json.loads(manage(variables, "create_operator", "grace", "--json"))
    secrets += [made["token"], grace["password"]]
    with server.overheard() as heard, ExitStack() as running:
        for role in (("background_worker",), ("beat",)):
            running.enter_context(Program(variables, *role))
        served = running.enter_context(Served(variables))
        with httpx.Client(
            base_url=served.root_url, headers=CLIENT, timeout=GIVE_UP_SECONDS
        ) as client:
            for answers in (everything(client, planted.key, FAULTS), played(client, planted)):
                assert [answer.status_code for answer in answers]
            in_background(client, planted.key)
            by_token(client, made["token"])
            secrets += signing_in(client, grace["password"])
        left = server.dump().decode(errors="replace")
        served.signal()
        served.wait()
    text = "\n".join(heard)
    bodies = re.findall(r'\\?"body\\?": \\?"([A-Za-z0-9+/=]+)', text)
    return Traces(
        secrets, text, "\n".join(base64.b64decode(each).decode() for each in bodies), left
    )


def in_background(client: httpx.Client, key: str) -> None:
    """Let a worker answer, tell a webhook, and let a request be repeated."""
    headers = {"authorization": f"Bearer {key}", "idempotency-key": "once"}
    body = {"model": "plain-responses/good", "input": PROMPT, "background": True}
    made = client.post(f"{V1}/responses", json=body, headers=headers)
    assert made.status_code == 200, made.text
    again = client.post(f"{V1}/responses", json=body, headers=headers)
    assert again.json()["id"] == made.json()["id"]
    place, bearer = f"{V1}/responses/{made.json()['id']}", {"authorization": f"Bearer {key}"}
    eventually(lambda: client.get(place, headers=bearer).json()["status"] == "completed")


def by_token(client: httpx.Client, token: str) -> None:
    for given in (token, token[:-1] + "x"):
        client.get("/api/v1/keys", headers={"authorization": f"Bearer {given}"})
    made = client.post(
        "/api/v1/tokens",
        json={"name": "t", "scopes": ["*"]},
        headers={"authorization": f"Bearer {token}", "idempotency-key": "k"},
    )
    assert made.status_code == 201, made.text


def signing_in(client: httpx.Client, password: str) -> list[str]:
    """Sign in, after some wrong attempts; return the session's cookie."""
    with httpx.Client(base_url=client.base_url, timeout=GIVE_UP_SECONDS) as browser:
        place = "/console/accounts/login/"
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(place).text)
        assert found
        for name, typed in (("grace", TYPED), (TYPED, TYPED), ("grace", password)):
            form = {"login": name, "password": typed, "csrfmiddlewaretoken": found[1]}
            answer = browser.post(place, data=form)
        assert answer.status_code == 302, answer.text
        return [browser.cookies["sessionid"]]


def test_no_secret_reaches_redis_nor_a_task(traces: Traces) -> None:
    assert "run_background" in traces.heard
    assert "resp_" in traces.tasks  # what a task is sent with: where to look, and no more
    assert "EVALSHA" in traces.heard.upper()  # limits were counted
    assert len(traces.left) > 100
    for secret in traces.secrets:
        assert len(secret) > 10
        for name in ("heard", "tasks", "left"):
            assert secret not in getattr(traces, name), (name, secret[:12])
    assert "promptcanary" not in traces.heard + traces.tasks + traces.left
