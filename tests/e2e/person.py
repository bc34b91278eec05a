"""Let a person act in a browser, in words of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.e2e import pictures
from tests.processes.served import Served, shell

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

FORGET = """
from tenants.sign_in.session_store import SessionStore
from tenants.sign_in.sessions import PROVEN
session = SessionStore({cookie!r})
session[PROVEN] = 0
session.save()
print("null")
"""


class Person:
    """Somebody with an account, and one tab. `complaints` is what the browser wrote to its console."""

    def __init__(
        self,
        context: BrowserContext,
        name: str,
        password: str,
        served: Served,
    ) -> None:
        self.context = context
        self.name = name
        self.password = password
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self._served = served
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: Any) -> None:
        # A page that answers 4xx is told as an error, too; the tests look at those themselves.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def open(self, path: str) -> None:
        self.page.goto(path)

    def sign_in(self) -> None:
        self.open("/console/")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self.password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def sign_out(self) -> None:
        self.open("/console/")
        self.page.locator(".tg-account summary").click()
        self.page.get_by_role("button", name="Sign out").click()
        self.page.get_by_role("heading", name="Sign in").wait_for()

    def sees(self, heading: str) -> None:
        """Wait for a page with this heading."""
        self.page.get_by_role("heading", name=heading, exact=True).wait_for()

    def picture(self, name: str) -> None:
        pictures.take(self.page, name, is_whole=True)

    def gain_authenticator(self) -> None:
        """Plug in a virtual device that has keys and knows its owner."""
        session = self.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable")
        session.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )

    def let_confirmation_lapse(self) -> None:
        """Make the session as one that was confirmed long ago."""
        cookie = next(c["value"] for c in self.context.cookies() if c["name"] == "sessionid")
        self.run(FORGET, cookie=cookie)

    def run(self, script: str, **values: str) -> None:
        """Change something behind the server's back, as a second process on the same database."""
        shell(self._served.variables, script.format(**values))
