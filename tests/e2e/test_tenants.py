"""Tenants' people in the browser: invited, kept to what is theirs, removed, and billed by their own clock."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import before, let_in
from tests.e2e.person import Person
from tests.e2e.walk import look
from tests.processes.served import Served, shell

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One process makes it all: two tenants whose months differ, their people's sessions, a rival, and demo data.
MADE = """
import json
from datetime import timedelta
from zoneinfo import ZoneInfo
from django.contrib.auth.models import User
from gateway_project.demo import seeding
from gateway_project.lib import clock
from tenants.billing import periods, rollups
from tenants.billing.instants import month_of
from tenants.keys import keys
from tenants.ledger import row_ids
from tenants.models import BillingPeriod, Tenant
from tenants.sign_in.session_store import SessionStore
from tenants.sign_in.sessions import PROVEN
from tests.support import console_session, kept_rows, usage_rows

seeding.seed(1500, 1, beside_data=True)
HOUR = timedelta(hours=1)

def session(signed_in):
    kept = SessionStore(signed_in.cookie)
    kept[PROVEN] = clock.timestamp()
    kept.save()
    return signed_in.cookie

def month_before(zone):
    start, _ = month_of(clock.now(), zone)
    return month_of(start - HOUR, zone)

made = {}
for slug, zone, nano in (("berlin", "Europe/Berlin", 345 * 10**7), ("kolkata", "Asia/Kolkata", 234 * 10**7)):
    start, end = month_before(zone)
    tenant = Tenant.objects.create(slug=slug, name=slug.title(), time_zone=zone, created_at=start)
    key, _ = keys.create(tenant, f"{slug} key")
    for at, charge in ((start, nano), (end - timedelta(minutes=1), nano), (end, 99 * nano)):
        of_key = {"key_public_id": key.public_id, "key_id": key.pk}
        usage_rows.usage(tenant, at, charges={"input_fresh": charge}, **of_key)
    rollups.recompute_dirty()
    periods.ensure(tenant, clock.now())
    period = BillingPeriod.objects.get(tenant=tenant, starts_at=start)
    made[slug] = {
        "admin": session(console_session.member("owner", tenant)),
        "key": key.pk,
        "period": period.pk,
        "month": f"{start.astimezone(ZoneInfo(zone)):%Y-%m}",
        "charge": f"${2 * nano / 10**9:.2f}",
        "response": kept_rows.response(tenant, said="Hello").pk,
        "request": row_ids.request_id_of(usage_rows.usage(tenant, clock.now() - HOUR, **of_key).pk),
    }
made["operator"] = session(console_session.sign_in(User.objects.create_superuser("biller")))
print(json.dumps(made))
"""
MEMBER = """
import json
from tenants.models import Membership
print(json.dumps(Membership.objects.get(user__username={name!r}).pk))
"""
# What the console's socket says of a topic that is asked for.
ASK_SOCKET = """
(query) => new Promise((told) => {
    const socket = new WebSocket(`ws://${location.host}/console/ws/`);
    socket.onopen = () => socket.send(JSON.stringify({ watch: "in-flight", as: "1", query }));
    socket.onmessage = ({ data }) => { socket.close(); told(Object.keys(JSON.parse(data)).sort().join()); };
    socket.onclose = ({ code }) => told(String(code));
})
"""


@pytest.fixture(scope="module")
def made(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = shell(served.variables, MADE)
    return found


def statuses(person: Person, addresses: list[str]) -> dict[str, int]:
    get = person.context.request.get
    return {address: get(address, max_redirects=0).status for address in addresses}


def of_tenant(slug: str, row: dict[str, Any]) -> list[str]:
    """The addresses by which something of a tenant could be reached."""
    of_rows = [
        f"/console/tenants/apikey/{row['key']}/change/",
        f"/console/tenants/billingperiod/{row['period']}/change/",
        f"/console/responses_api/storedresponse/{row['response'].replace('_', '_5F')}/change/",
        f"/console/requests/{row['request']}/",
    ]
    pages = ("", "usage/", "usage/csv/", "requests/", "in-flight/", "live/in-flight/", "responses/")
    return [*of_rows, *(f"/console/{page}?tenant={slug}" for page in pages)]


def test_who_is_invited_sees_their_tenant_alone_until_they_are_removed(
    browser: Browser, served: Served, made: dict[str, Any]
) -> None:
    with ExitStack() as stack:
        admin = stack.enter_context(let_in(browser, served, "admin", made["berlin"]["admin"]))
        admin.open("/console/tenants/invitation/add/")
        admin.page.get_by_label("Role", exact=True).select_option("developer")
        admin.page.get_by_role("button", name="Save").click()
        admin.sees("Copy the link now")
        link = admin.page.locator(".tg-secret code").inner_text()
        admin.picture("invitation-link")

        guest = stack.enter_context(before(browser, served, "newcomer", ""))
        guest.open(link.replace("127.0.0.1", "localhost"))
        guest.page.get_by_label("User name").fill("newcomer")
        for field in guest.page.locator("input[type=password]").all():
            field.fill("a long enough password")
        guest.page.get_by_role("button", name="Make an account and join").click()
        guest.sees("Overview")

        own, foreign = of_tenant("berlin", made["berlin"]), of_tenant("kolkata", made["kolkata"])
        for person in (admin, guest):
            assert {*statuses(person, foreign).values()} == {404}, statuses(person, foreign)
            found = statuses(person, own)
            # A developer has no bills, which is told as such and not as another's.
            assert {*found.values()} <= {200, 403}, found
            assert found[own[0]] == 200
            person.open("/console/in-flight/?tenant=berlin")
            assert person.page.evaluate(ASK_SOCKET, "tenant=berlin") == "as,data"
            assert person.page.evaluate(ASK_SOCKET, "tenant=kolkata") == "as,ended"
        guest.open("/console/search/?q=kolkata")
        assert "kolkata key" not in guest.page.inner_text("main")
        guest.open("/console/search/?q=berlin")
        guest.page.get_by_role("link", name="berlin key").wait_for()
        assert look(guest.page) == []

        # The page that is open is told, and nothing more is answered.
        guest.open("/console/in-flight/")
        number = shell(served.variables, MEMBER.format(name="newcomer"))
        admin.open(f"/console/tenants/membership/{number}/delete/")
        admin.page.get_by_role("button", name="Yes, delete").click()
        admin.page.get_by_text("was deleted successfully").wait_for()
        refused = [*own[:2], "/console/search/?q=berlin", "/console/live/in-flight/"]
        assert {*statuses(guest, refused).values()} <= {302, 403}
        assert guest.page.evaluate(ASK_SOCKET, "") != "as,data"
        # Chromium tells of a refused socket as an error of the page.
        guest.complaints[:] = [each for each in guest.complaints if "WebSocket" not in each]
        guest.open("/console/")
        guest.sees("No access")
        guest.picture("removed")


def test_a_month_ends_by_the_clock_of_its_tenant_on_every_page_and_document(
    browser: Browser, served: Served, made: dict[str, Any]
) -> None:
    with let_in(browser, served, "biller", made["operator"]) as person:
        page = person.page
        person.open("/console/")  # asks for a second factor once
        for slug in ("berlin", "kolkata"):
            month, charge = made[slug]["month"], made[slug]["charge"]
            person.open(f"/console/tenants/billingperiod/{made[slug]['period']}/change/")
            assert month in page.locator("main").inner_text()
            page.get_by_role("link", name="Close month").click()
            forced = page.get_by_role("checkbox")
            if forced.count():
                forced.check()
            page.get_by_role("button", name="Close month").click()
            page.get_by_text(f"comes to {charge}").wait_for()
            page.get_by_role("link", name="Draft invoice").click()
            person.sees("Invoice")
            said = page.locator("main").inner_text()
            assert month in said
            assert charge in said
            assert look(page, number=0) == []
            page.get_by_role("link", name="Finalize").click()
            page.get_by_role("button", name="Finalize").click()
            page.get_by_role("link", name="PDF").wait_for()
            person.picture(f"invoice-{slug}")
            links = {
                name: page.get_by_role("link", name=name, exact=True).get_attribute("href")
                for name in ("PDF", "CSV", "HTML")
            }
            get = person.context.request.get
            pdf = get(str(links["PDF"]))
            assert (pdf.status, pdf.body()[:5]) == (200, b"%PDF-")
            document = get(str(links["HTML"])).text()
            assert month in document
            assert charge.removeprefix("$") in document
            page.get_by_role("link", name="What was used").click()
            used = page.locator(".tg-usage .tg-total").inner_text()
            assert charge in used


def test_usage_requests_and_keys_agree_where_there_is_much(
    browser: Browser, served: Served, made: dict[str, Any]
) -> None:
    with let_in(browser, served, "biller", made["operator"]) as person:
        page = person.page
        person.open("/console/")
        person.open("/console/usage/?period=90d&by=alias")
        heading = page.locator(".tg-usage thead th").all_inner_texts()
        place = heading.index("Requests")
        rows = page.locator(".tg-usage tbody tr, .tg-usage tfoot tr").all()
        figures = [int(re.sub(r"\D", "", _cells(row)[place]) or 0) for row in rows]
        assert figures[0] == sum(figures[1:]) > 1_000, figures  # the total stands first
        assert look(page, number=1) == []
        person.picture("usage-much")

        person.open("/console/requests/?period=90d&alias=nobody-asks-for-it")
        page.get_by_text(re.compile("No request|Nothing")).first.wait_for()
        assert page.locator(".tg-requests__open").count() == 0
        assert look(page, number=2) == []

        person.open("/console/requests/?period=90d")
        assert page.locator(".tg-requests__open").count() == 50
        page.locator(".tg-requests__open").first.click()
        page.locator(".tg-request__sentence").wait_for()
        page.locator("main a[href*='/tenants/apikey/']").first.click()
        page.wait_for_load_state()
        assert look(page, number=3) == []


def _cells(row: Any) -> list[str]:
    return [text.strip() for text in row.locator("th, td").all_inner_texts()]
