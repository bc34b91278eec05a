"""Running calls, and the playground, as a person sees them."""

from __future__ import annotations

import json
import re
import threading
from decimal import Decimal
from typing import Any

import httpx

from tests.e2e.person import Person
from tests.processes.served import Served, eventually, shell
from tests.support.patience import GIVE_UP_SECONDS

KEY = """
import json
from tenants.keys import keys
from tenants.models import Tenant
key, secret = keys.create(Tenant.objects.get(slug="default"), {name!r}, all_aliases=True)
print(json.dumps([key.public_id, secret.reveal()]))
"""
BOOKED = """
import json
from tenants.ledger import row_ids
from tenants.models import UsageRow
row = UsageRow.objects.filter(pk__range=row_ids.rows_of({request_id!r})).first()
print(json.dumps(row and [row.status, row.end_user, row.charge_nano]))
"""
TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {}},
}


def signed_in(person: Person) -> Any:
    person.sign_in()
    person.sees("A second factor")
    return person.page


def test_a_person_sees_a_call_run_and_stops_it(operator: Person, served: Served) -> None:
    _, secret = shell(served.variables, KEY.format(name="streams"))
    ended = threading.Event()

    def stream() -> None:
        body = {"model": "sandbox-responses", "input": "[chunks=100000] [pace=20]", "stream": True}
        headers = {"authorization": f"Bearer {secret}"}
        url = f"{served.root_url}/v1/responses"
        with httpx.stream(
            "POST", url, headers=headers, json=body, timeout=GIVE_UP_SECONDS
        ) as answer:
            if "This request was stopped" in answer.read().decode():
                ended.set()

    page = signed_in(operator)
    operator.open("/console/in-flight/")
    page.get_by_text("Nothing is running.").wait_for()
    caller = threading.Thread(target=stream)
    caller.start()
    page.get_by_role("cell", name=re.compile("streaming")).wait_for()  # pushed to the open page
    operator.picture("in-flight")
    page.set_viewport_size({"width": 390, "height": 800})
    operator.picture("in-flight-390")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("link", name="Stop", exact=True).click()
    operator.sees("Stop a request")
    operator.picture("stop-a-request")
    page.get_by_role("button", name="Stop it").click()
    page.get_by_text(re.compile(r"Ended after [\d,]+ ms: [\d,]+ tokens, ")).wait_for()
    operator.picture("stopped")
    caller.join(GIVE_UP_SECONDS)
    assert ended.is_set()


def test_the_playground_streams_calls_a_tool_goes_on_and_is_charged_as_it_says(
    operator: Person, served: Served
) -> None:
    public_id, _ = shell(served.variables, KEY.format(name="plays"))
    page = signed_in(operator)
    operator.open(f"/console/playground/?key={public_id}&alias=sandbox-responses")
    answer = page.locator("[data-side=a]")
    said = answer.get_by_role("log")
    page.get_by_text("Instructions, limits and tools").click()
    page.locator("[name=tools]").fill(json.dumps([TOOL]))
    page.locator("[name=store]").check()

    def say(text: str) -> None:
        page.locator("[name=message]").fill(text)
        page.get_by_role("button", name="Send", exact=True).click()

    say("What's the weather?")
    result = answer.locator(".tg-tool-calls textarea")
    result.fill("Sunny")
    answer.get_by_role("button", name="Send results").click()
    said.get_by_text("The tool answered: Sunny").wait_for()
    page.locator("[name=tools]").fill("")
    say("And then?")
    said.get_by_text("You said: And then?").wait_for()
    answer.locator("[data-part=charge]", has_text="$").wait_for()
    operator.picture("playground")
    page.set_viewport_size({"width": 390, "height": 800})
    operator.picture("playground-390")
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    sent = answer.locator("[data-part=request]").text_content()
    assert '"previous_response_id": "resp_' in sent
    request_id = re.search(r"req_\w+", answer.locator("[data-part=answered]").inner_text())
    assert request_id is not None
    script = BOOKED.format(request_id=request_id[0])
    booked: list[Any] = []

    def is_booked() -> bool:
        booked[:] = shell(served.variables, script) or []
        return bool(booked)

    eventually(is_booked)
    shown = Decimal(answer.locator("[data-part=charge]").inner_text().removeprefix("$"))
    assert booked == ["completed", f"console:{operator.name}", int(shown * 10**9)]
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert "tg_play_" not in stored
