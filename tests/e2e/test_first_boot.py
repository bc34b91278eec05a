"""From the first boot to the first request of one's own, as a person does it who has never been here."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.conftest import before
from tests.e2e.test_new_key import paste
from tests.processes.served import Served, environment, shell

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

SANDBOX = """
import json
from routing.models import Provider
print(json.dumps(Provider.objects.filter(vendor="sandbox", protocol="chat").get().base_url))
"""


def pages_loaded(page: Page) -> list[str]:
    """Return a list that grows by each page that is shown in the window."""
    loaded: list[str] = []

    def note(response: Response) -> None:
        if response.request.is_navigation_request() and not 300 <= response.status < 400:
            loaded.append(response.url)

    page.on("response", note)
    return loaded


def test_eight_pages_lead_from_the_overview_to_the_first_request_of_ones_own(
    browser: Browser, first_boot: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    data, told = first_boot
    with Served(environment(shutil.copytree(data, tmp_path / "data"))) as gateway:
        sandbox = shell(gateway.variables, SANDBOX)
        with before(browser, gateway, told["username"], told["password"]) as person:
            page = person.page
            person.sign_in()
            loaded = pages_loaded(page)
            page.get_by_role("button", name="Later").click()
            person.sees("Overview")
            page.get_by_role("link", name="Have a provider").click()
            page.get_by_role("link", name="Another one").click()
            page.get_by_label("Name", exact=True).fill("mine")
            page.get_by_label("Protocol").select_option(label="Chat Completions")
            page.get_by_label("Address").fill(sandbox)
            page.get_by_label("Secret key").fill("sk-of-a-vendor")
            page.get_by_label("Allow private network").check()
            page.get_by_role("button", name="Test and list models").click()
            page.get_by_text(re.compile("It answered after .* and lists")).wait_for()
            page.get_by_label("sandbox-mini", exact=True).check()
            page.get_by_label("Alias of sandbox-mini").fill("quick")
            person.picture("first-provider-tested")
            page.get_by_role("button", name="Save").click()
            page.get_by_role("link", name="Create a key for it").click()
            page.get_by_label("Name", exact=True).fill("my first")
            page.get_by_label("It may use every alias").uncheck()
            page.get_by_label("quick (platform)").check()
            page.get_by_role("button", name="Create the key").click()
            person.sees("Copy the secret now")
            assert "You said" in paste(page.get_by_role("tabpanel").locator("pre").inner_text())
            page.get_by_text("✓ It was answered.").wait_for()
            page.get_by_role("link", name="req_").click()
            page.get_by_text(re.compile("Answered by mine/sandbox-mini")).wait_for()
            person.picture("first-request")
            assert len(loaded) <= 8, loaded
