"""Follow calls as the console tells of them: revoked, refused, failed over, ended by a budget, repriced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tenants.console import drawing
from tests.e2e.person import Person
from tests.processes.served import Served, eventually, shell
from tests.support.patience import GIVE_UP_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Locator

# What the calls below need: keys with their secrets, by name.
MADE = """
import json
from gateway_project.lib import clock
from routing.models import Provider
from tenants.keys import keys
from tenants.models import Budget, RateLimit, Tenant
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.support.rows import alias

tenant = Tenant.objects.create(name="Flows", slug="flows")
sandbox = Provider.objects.get(vendor="sandbox", protocol="chat")
def price(name, dollars):
    lines = [Line("input_fresh", dollars * 10**6), Line("output_visible", dollars * 10**6)]
    publishing.set_price(Subject.charge(name), lines, "a test", clock.now())
alias("second-helps", (sandbox, "sandbox-fault-500"), (sandbox, "sandbox"))
for name in ("costly", "repriced"):
    alias(name, (sandbox, "sandbox"))
    price(name, 1000)
made = {}
def key(name, of=tenant, **given):
    row, secret = keys.create(of, name, **given)
    made[name] = [row.public_id, secret.reveal(), row.pk]
    return row
def budget(of, name, nano):
    Budget.objects.create(tenant=tenant, api_key=key(of), name=name, amount_nano=nano, period="monthly")
key("runs")
key("plain")
key("fails over", Tenant.objects.create(name="Failing", slug="failing"))
key("reads only", scopes=["models"])
RateLimit.objects.create(tenant=tenant, api_key=key("once a day"), metric="requests", window="day", amount=1)
budget("poor", "tiny", 10**7)
budget("strict", "strict", 10**9)
budget("ends", "one dollar", 10**9)
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def keys(served: Served) -> dict[str, list[Any]]:
    """The public id, the secret and the row's id of each key, by its name."""
    made: dict[str, list[Any]] = shell(served.variables, MADE)
    return made


def query_of(address: str | None) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address or "").query))


def ask(served: Served, secret: str, model: str = "sandbox-chat", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
    headers = {"authorization": f"Bearer {secret}"}
    url = f"{served.root_url}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False)


def find(person: Person, request_id: str) -> None:
    """Find a request by its id through the search; what was just refused is in the log soon."""
    page = person.page

    def is_there() -> bool:
        page.keyboard.press("Control+k")
        page.get_by_role("dialog").get_by_label("An id, or the beginning").fill(request_id)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        return page.locator(".tg-request__sentence").count() == 1

    eventually(is_there)


def signed_in(person: Person) -> None:
    person.sign_in()
    person.sees("A second factor")
    person.open("/console/")
    person.sees("Overview")


class Stream:
    """A call that streams until it is left; `pieces` counts what came."""

    def __init__(self) -> None:
        self.pieces = 0
        self.is_left = threading.Event()

    def run(self, served: Served, secret: str) -> None:
        body = {"model": "sandbox-chat", "stream": True}
        said = {"role": "user", "content": "[chunks=1000000] [pace=20]"}
        with httpx.stream(
            "POST",
            f"{served.root_url}/v1/chat/completions",
            headers={"authorization": f"Bearer {secret}"},
            json={**body, "messages": [said]},
            timeout=GIVE_UP_SECONDS,
            trust_env=False,
        ) as answer:
            for _ in answer.iter_lines():
                self.pieces += 1
                if self.is_left.is_set():
                    return


@contextmanager
def streaming(served: Served, secret: str) -> Iterator[Stream]:
    stream = Stream()
    caller = threading.Thread(target=stream.run, args=(served, secret))
    caller.start()
    try:
        eventually(lambda: stream.pieces > 2)
        yield stream
    finally:
        stream.is_left.set()
        caller.join(GIVE_UP_SECONDS)


def test_a_key_revoked_while_it_streams_finishes_that_and_is_refused_from_then_on(
    operator: Person, served: Served, keys: dict[str, list[Any]]
) -> None:
    page = operator.page
    _, secret, row = keys["runs"]
    signed_in(operator)
    refused: list[httpx.Response] = []

    def is_refused() -> bool:
        refused[:] = [ask(served, secret)]
        return refused[0].status_code == 401

    with streaming(served, secret) as stream:
        operator.open(f"/console/tenants/apikey/{row}/change/")
        page.get_by_role("link", name="Revoke").click()
        page.get_by_label("Reason").fill("it leaked")
        page.get_by_role("button", name="Revoke").click()
        page.get_by_text("The key is revoked.").wait_for()
        eventually(is_refused)
        so_far = stream.pieces
        eventually(lambda: stream.pieces > so_far)

    find(operator, refused[0].headers["x-request-id"])
    page.get_by_text("The key “runs” had been revoked on").wait_for()
    operator.picture("refused-revoked")


def test_each_refusal_is_found_by_its_id_with_its_cause_and_its_cure(
    operator: Person, served: Served, keys: dict[str, list[Any]]
) -> None:
    page = operator.page
    secrets = {name: secret for name, (_, secret, _) in keys.items()}
    asked = {
        "invalid_request": ask(served, secrets["plain"], messages="no list"),
        "invalid_api_key": ask(served, secrets["plain"][:-4] + "0000"),
        "insufficient_scope": ask(served, secrets["reads only"]),
        "model_not_found": ask(served, secrets["plain"], "snadbox-chat"),
        "request_too_large": too_large(served, secrets["plain"]),
        "model_not_priced": ask(served, secrets["strict"], "second-helps"),
        "insufficient_quota": used_up(served, secrets["poor"]),
    }
    assert ask(served, secrets["once a day"]).status_code == 200
    asked["rate_limit_exceeded"] = ask(served, secrets["once a day"])
    cures = {
        "invalid_api_key": ("but its secret does not match. Was it cut?", "Open the key"),
        "insufficient_scope": ("", "Edit the key"),
        "model_not_found": ("may not use “snadbox-chat”", "Open the key"),
        "model_not_priced": ("“second-helps” has no price", "Price this model"),
        "insufficient_quota": ("", "Open the budgets"),
        "rate_limit_exceeded": ("", "Open the rate limits"),
    }
    signed_in(operator)
    for code, answer in asked.items():
        assert answer.status_code >= 400, code
        error = answer.json()["error"]
        assert error["code"] == code, answer.text
        find(operator, answer.headers["x-request-id"])
        assert error["message"] in page.locator(".tg-request__sentence").inner_text(), code
        if code in cures:
            sentence, label = cures[code]
            note = page.locator(".tg-note")
            assert sentence in note.inner_text()
            note.get_by_role("link", name=label).click()
            page.wait_for_load_state()
            assert page.locator("h1").count() == 1
            assert page.title().split(" | ")[0] not in {"Not found", "Not allowed"}


def too_large(served: Served, secret: str) -> httpx.Response:
    """Announce a body larger than the limit, and send none of it."""
    caller = HTTPConnection(served.root_url.removeprefix("http://"), timeout=GIVE_UP_SECONDS)
    caller.putrequest("POST", "/v1/chat/completions")
    caller.putheader("authorization", f"Bearer {secret}")
    caller.putheader("content-type", "application/json")
    caller.putheader("content-length", str(2**40))
    caller.endheaders()
    answer = caller.getresponse()
    read = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    caller.close()
    return read


def used_up(served: Served, secret: str) -> httpx.Response:
    """Ask until the budget pays for no more."""
    for _ in range(50):
        answer = ask(served, secret, "costly", max_tokens=4)
        if answer.status_code != 200 and answer.json()["error"]["code"] == "insufficient_quota":
            break
    return answer


def test_a_budget_that_ends_a_stream_is_told_alike_to_its_client_and_on_both_pages(
    operator: Person, served: Served, keys: dict[str, list[Any]]
) -> None:
    page = operator.page
    secret = keys["ends"][1]
    headers = {"authorization": f"Bearer {secret}"}
    body = {"model": "costly", "stream": True, "input": "[chunks=3000] [unlimited]"}
    url = f"{served.root_url}/v1/responses"
    ended = httpx.post(url, json=body, headers=headers, timeout=GIVE_UP_SECONDS, trust_env=False)
    assert '"status":"incomplete"' in ended.text
    assert "budget" in ended.text.rpartition('"incomplete_details":')[2][:200]
    refused = ask(served, secret, "costly", messages=[{"role": "user", "content": "word " * 300}])
    sentence = refused.json()["error"]["message"]
    assert "Budget 'one dollar' is exhausted" in sentence

    signed_in(operator)
    find(operator, ended.headers["x-request-id"])
    page.get_by_text("Answered in part by").wait_for()
    charged = page.locator(".tg-request__total strong").inner_text()
    nano = int(dollars(charged) * 10**9)
    assert 0 < nano <= 10**9
    operator.picture("ended-by-a-budget")
    find(operator, refused.headers["x-request-id"])
    assert sentence in page.locator(".tg-request__sentence").inner_text()
    page.get_by_role("link", name="Open the budgets").click()
    budget = page.locator("#result_list tbody tr", has_text="one dollar")
    left = drawing.money(10**9 - nano)
    # "$0.21 left": what is left of the amount once what was charged is taken from it.
    assert f"{left} left" in budget.inner_text()
    assert budget.locator(".field-refusals").inner_text() == "1"


def test_a_call_that_the_second_target_answered_is_one_request_of_two_attempts(
    operator: Person, served: Served, keys: dict[str, list[Any]]
) -> None:
    page = operator.page
    answer = ask(served, keys["fails over"][1], "second-helps")
    assert answer.status_code == 200, answer.text
    signed_in(operator)
    find(operator, answer.headers["x-request-id"])
    assert "on attempt 2" in page.locator(".tg-request__sentence").inner_text()
    assert page.locator(".tg-timeline > li").count() == 2
    page.get_by_text("another target was tried").wait_for()
    operator.picture("second-target")

    bars = page.locator(".tg-volume__bar")

    def is_drawn() -> bool:
        operator.open("/console/requests/?tenant=failing")
        return bars.count() > 0  # made of sums, which know the call a little later

    eventually(is_drawn)
    assert page.locator(".tg-requests tbody tr", has_text="second-helps").count() == 1
    first, last = (query_of(each.get_attribute("href")) for each in (bars.first, bars.last))
    bars.first.hover()
    page.mouse.down()
    bars.last.hover()
    page.mouse.up()
    page.wait_for_url("**from=**")
    narrowed = query_of(page.url)
    assert (narrowed["from"], narrowed["to"]) == (first["from"], last["to"])
    usage = page.locator(".tg-usage .tg-total td").first
    assert shown(operator, "/console/usage/?tenant=failing", usage) == "1"
    cards = page.locator(".tg-kpis .tg-card")
    requests = cards.filter(has_text="Requests").locator(".tg-card__figure")
    assert shown(operator, "/console/?tenant=failing", requests) == "1"
    answered = cards.filter(has_text="Answered").locator(".tg-card__figure")
    assert answered.inner_text() == "100.0 %"


def test_a_new_price_is_seen_before_it_holds_and_leaves_what_is_booked_alone(
    operator: Person, served: Served, keys: dict[str, list[Any]]
) -> None:
    page = operator.page
    secret = keys["plain"][1]
    signed_in(operator)
    total = page.locator(".tg-request__total strong")
    before = ask(served, secret, "repriced").headers["x-request-id"]
    find(operator, before)
    charged = total.inner_text()

    operator.open("/console/prices/?q=repriced")
    page.get_by_role("link", name="repriced").click()
    page.get_by_label("Input", exact=True).fill("2000")
    page.get_by_label("Output", exact=True).fill("2000")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Calls that are booked already keep their price").wait_for()
    operator.picture("price-preview")
    page.get_by_role("button", name="Publish").click()
    page.get_by_text("The price is published; it holds from").wait_for()
    assert "2000" in page.locator(".tg-version").first.inner_text().replace(",", "")

    def is_dearer() -> bool:
        find(operator, ask(served, secret, "repriced").headers["x-request-id"])
        return dollars(total.inner_text()) == 2 * dollars(charged)

    eventually(is_dearer)
    find(operator, before)
    assert total.inner_text() == charged


def dollars(text: str) -> Decimal:
    return Decimal(text.removeprefix("$").replace(",", ""))


def shown(person: Person, address: str, figure: Locator) -> str:
    """Return what a figure made of sums says, once these know the call."""

    def is_summed() -> bool:
        person.open(address)
        return figure.count() == 1 and figure.inner_text() != "0"

    eventually(is_summed)
    return figure.inner_text()
