"""Long work goes on when its page is left, and is found again: an export and a re-rating, by a person."""

from __future__ import annotations

import gzip
from pathlib import Path

from tests.e2e.person import Person
from tests.e2e.walk import look
from tests.processes.served import Served, shell

# Three calls of five days ago, charged a thousand times what is right by now.
MADE = """
from datetime import timedelta
from uuid import UUID
from gateway_project.lib import clock, ids
from tenants.ledger.row_ids import row_id
from tenants.models import Tenant
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.support.usage_rows import usage
tenant = Tenant.objects.create(name="Tasks", slug="tasks")
now = clock.now()
def price(pico, at):
    lines = [Line("input_fresh", pico), Line("output_visible", 4 * pico)]
    return publishing.set_price(Subject.charge("mispriced"), lines, "test", at).pk
wrong = price(10**12, now - timedelta(days=9))
right = price(10**9, now)
for _ in range(3):
    usage(
        tenant, now - timedelta(days=5), id=UUID(row_id(ids.request_id(), 0)), alias="mispriced",
        charge_version=wrong, cost_version=None, cost_nano=0, recorded_at=now,
        charges={"input_fresh": 20 * 10**9, "output_visible": 40 * 10**9},
    )
print(right)
"""


def test_an_export_and_a_re_rating_are_found_again_by_who_left_their_page(
    operator: Person, served: Served, tmp_path: Path
) -> None:
    right = shell(served.variables, MADE)
    page = operator.page
    operator.sign_in()
    operator.sees("A second factor")

    operator.open("/console/exports/?tenant=tasks&period=7d")
    page.get_by_label("Alias").fill("mispriced")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("3 rows, ").wait_for()  # the page says so by itself
    assert look(page, "task-export", 1) == []
    with page.expect_download() as found:
        page.get_by_role("link", name="Download (").click()
    found.value.save_as(tmp_path / "export.csv.gz")
    lines = gzip.decompress((tmp_path / "export.csv.gz").read_bytes()).decode().splitlines()
    assert len(lines) == 4

    operator.open("/console/rerating/?tenant=tasks&period=7d")
    page.get_by_label("Charge them by").select_option(str(right))
    page.get_by_label("Reason").fill("The price had three zeros too many")
    page.get_by_role("button", name="Tell me what would change").click()
    # Not sooner: a page that loads itself again while another is opened ends both.
    told = "3 requests would be charged $0.18 instead of $180.00: -$179.82."
    page.get_by_text(told).wait_for()
    operator.open("/console/")

    operator.open("/console/tenants/longtask/?tenant=tasks")
    page.get_by_role("link", name="Re-rating", exact=True).last.click()
    page.get_by_text(told).wait_for()
    assert look(page, "task-waits", 2) == []
    page.get_by_role("link", name="Charge them anew").click()
    page.get_by_text(told).wait_for()
    assert look(page, "task-asks", 3) == []
    page.get_by_role("button", name="Charge them anew").click()
    page.get_by_text("3 requests are charged $0.18 instead of $180.00").wait_for()

    for number, path in enumerate(("exports", "rerating", "tenants/longtask")):
        operator.open(f"/console/{path}/?tenant=tasks")
        assert look(page, f"tasks-{path.replace('/', '-')}", number) == []
