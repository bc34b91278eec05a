"""A key is made in German, by keyboard alone, on a telephone."""

from __future__ import annotations

from tests.e2e.person import Person
from tests.e2e.test_new_key import is_too_wide
from tests.e2e.walk import fits


def test_a_key_by_keyboard_alone_in_german(operator: Person) -> None:
    page = operator.page
    page.set_viewport_size({"width": 390, "height": 844})
    operator.sign_in()
    page.get_by_role("button", name="Later").click()
    operator.sees("Overview")
    page.locator(".tg-account summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Deutsch").focus()
    page.keyboard.press("Enter")
    operator.sees("Übersicht")
    assert page.locator("html").get_attribute("lang") == "de"

    operator.open("/console/tenants/apikey/add/?tenant=default")
    operator.sees("API-Schlüssel anlegen")
    assert not is_too_wide(page)
    operator.picture("german-new-key")
    page.keyboard.type("mit der Tastatur")  # the name has the focus
    page.keyboard.press("Enter")
    operator.sees("Kopieren Sie jetzt das Geheimnis")
    assert not is_too_wide(page)
    operator.picture("german-new-key-secret")
    for path in ("", "usage/", "requests/", "tenants/apikey/", "prices/", "system/"):
        operator.open(f"/console/{path}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 844})
            assert fits(page), (width, path)
            operator.picture(f"german-{path.strip('/').replace('/', '-') or 'overview'}-{width}")
