"""A key is made by keyboard alone on a telephone, and its page sees the first request."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.person import Person
from tests.support.patience import GIVE_UP_SECONDS, until

if TYPE_CHECKING:
    from playwright.sync_api import Page


# A program that finds address and key in its environment.
ASK = """
from openai import OpenAI
said = OpenAI().responses.create(model="sandbox-responses", input="Hello")
print(said.output_text)
"""


def paste(text: str) -> str:
    """Run what was copied in a shell."""
    ended = subprocess.run(
        ["sh"], input=text, capture_output=True, text=True, timeout=GIVE_UP_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def is_too_wide(page: Page) -> bool:
    wide: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return wide


def test_a_key_by_keyboard_alone_on_a_telephone(operator: Person) -> None:
    page = operator.page
    page.set_viewport_size({"width": 390, "height": 844})
    operator.sign_in()
    page.wait_for_url("**/console/**")
    operator.open("/console/tenants/apikey/add/?tenant=default")
    operator.sees("Create an API key")
    assert not is_too_wide(page)
    operator.picture("new-key")

    page.keyboard.type("by keyboard")  # the name has the focus
    page.keyboard.press("Enter")

    operator.sees("Copy the secret now")
    waiting = page.get_by_role("status").filter(has_text="Waiting for the first request…")
    waiting.wait_for()
    assert not is_too_wide(page)
    operator.picture("new-key-secret")

    first = page.get_by_role("tab", name="curl")
    first.focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("tab", name="Environment").get_attribute("aria-selected") == "true"
    page.keyboard.press("Home")
    assert first.get_attribute("aria-selected") == "true"
    panel = page.get_by_role("tabpanel")
    assert panel.count() == 1
    curl = panel.locator("pre").inner_text()

    until(lambda: "You said" in paste(curl))  # the sandbox is a process that may still be starting
    page.get_by_text("✓ It was answered.").wait_for()
    operator.picture("new-key-answered")
    page.get_by_role("link", name="req_").click()
    page.wait_for_url("**/console/requests/req_**")


def test_what_stands_in_the_way_is_named(operator: Person) -> None:
    page = operator.page
    operator.sign_in()
    page.wait_for_url("**/console/**")
    operator.open("/console/tenants/apikey/add/?tenant=default")
    page.get_by_label("Name", exact=True).fill("mistyped")
    page.get_by_role("button", name="Create the key").click()
    curl = page.get_by_role("tabpanel").locator("pre").inner_text()

    paste(curl.replace('"sandbox-', '"snadbox-'))

    page.get_by_text("it may use").wait_for()
    operator.picture("new-key-refused")
    page.get_by_role("link", name="Grant the alias").click()
    page.get_by_role("heading", name="mistyped").wait_for()


def copied(page: Page, tab: str) -> str:
    """Copy a program by its button and return what was copied, pasted into a field."""
    page.get_by_role("tab", name=tab).click()
    page.get_by_role("tabpanel").get_by_role("button", name="Copy").click()
    page.get_by_role("tabpanel").get_by_role("button", name="Copied").wait_for()
    field = page.locator("body > textarea")
    field.fill("")
    field.focus()
    page.keyboard.press("Control+V")
    return field.input_value()


def test_copying_works_without_tls_and_the_programs_run(operator: Person, tmp_path: Path) -> None:
    """Over plain HTTP there is no clipboard of the browser."""
    page = operator.page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    operator.sign_in()
    page.wait_for_url("**/console/**")
    operator.open("/console/tenants/apikey/add/?tenant=default")
    page.get_by_label("Name", exact=True).fill("copied")
    page.keyboard.press("Enter")
    operator.sees("Copy the secret now")
    secret = page.locator("#tg-secret").inner_text()

    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    page.keyboard.press("/")  # the focus went back to the button
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("body > textarea").focus()
    page.keyboard.press("Control+V")

    assert page.locator("body > textarea").input_value().strip() == secret.strip()

    program = tmp_path / "hello.py"
    program.write_text(copied(page, "Python"))
    until(lambda: "You said" in paste(f"{sys.executable} {program}"))
    page.get_by_text("✓ It was answered.").wait_for()
    *config, command = copied(page, "Codex").rstrip().split("\n")
    assert command.startswith("codex")
    paste("\n".join([f"export HOME={tmp_path}", *config]))
    written = [tomllib.loads(each.read_text()) for each in (tmp_path / ".codex").iterdir()]
    assert any("tollgate" in each.get("model_providers", {}) for each in written)
    exported = copied(page, "Environment")
    assert "You said" in paste(f"{exported}\n{sys.executable} -c {shlex.quote(ASK)}")
