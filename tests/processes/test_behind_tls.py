"""The console of a real `serve` as a proxy that ends TLS asks for it: cookies, forms, hosts, sessions."""

from __future__ import annotations

import json
import re
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Served, manage, shell
from tests.support.patience import GIVE_UP_SECONDS

HOST = "gateway"
LOGIN = "/console/accounts/login/"
SESSION, CSRF = "__Host-tollgate_session", "__Host-tollgate_csrf"


class Browser:
    """Keeps cookies by their names alone and speaks plain http to the server, as the proxy does."""

    def __init__(self, served: Served) -> None:
        self.url = served.root_url
        self.cookies: dict[str, str] = {}
        self.flags: dict[str, dict[str, Any]] = {}

    def ask(self, method: str, path: str, form: Any = None, **headers: str) -> httpx.Response:
        sent = {
            "host": HOST,
            "x-forwarded-proto": "https",
            "x-forwarded-for": "198.51.100.7",
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        answer = httpx.request(
            method,
            self.url + path,
            data=form,
            headers=sent,
            timeout=GIVE_UP_SECONDS,
            trust_env=False,
        )
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                self.flags[name] = {key: value for key, value in morsel.items() if value}
        return answer

    def sign_in(self, name: str, password: str, **headers: str) -> httpx.Response:
        page = self.ask("GET", LOGIN).text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token
        form = {"login": name, "password": password, "csrfmiddlewaretoken": token[1]}
        return self.ask("POST", LOGIN, form, **{"origin": f"https://{HOST}", **headers})


@pytest.fixture
def served(prepared: Prepared, serve: Serve) -> Served:
    return serve(TOLLGATE_SECURE_COOKIES="true", TOLLGATE_TRUSTED_PROXIES="127.0.0.1")


def test_the_public_url_is_all_there_is_to_say_and_is_printed_everywhere(serve: Serve) -> None:
    served = serve(TOLLGATE_PUBLIC_URL=f"https://{HOST}", TOLLGATE_ALLOWED_HOSTS="127.0.0.1")
    assert f"reached at https://{HOST}/v1, console at https://{HOST}/console/" in served.stdout
    profile = manage(served.variables, "codex_profile", "sandbox-responses", "--tenant", "acme")
    assert f'base_url = "https://{HOST}/v1"' in profile
    made = json.loads(
        manage(served.variables, "invite", "--tenant", "acme", "--role", "viewer", "--json")
    )
    assert made["link"].startswith(f"https://{HOST}/console/invitations/")
    begun = json.loads(manage(served.variables, "quickstart", "--json"))
    assert begun["base_url"] == f"https://{HOST}/v1"
    assert begun["console_url"] == f"https://{HOST}/console/"
    browser = Browser(served)
    assert browser.sign_in(begun["username"], begun["password"]).status_code == 302
    assert browser.flags[SESSION]["secure"]


def test_the_console_behind_a_proxy_that_ends_tls(served: Served) -> None:
    made = json.loads(manage(served.variables, "create_operator", "grace", "--json"))
    password = made["password"]

    # Forms of another site, or of this host without TLS, are refused; so is one without its cookie.
    for wrong in (
        {"origin": "https://evil.example"}, {"origin": f"http://{HOST}"}, {"origin": "null"},
        {"x_forwarded_proto": "http"}, {"cookie": ""},
    ):  # fmt: skip
        assert Browser(served).sign_in("grace", password, **wrong).status_code == 403, wrong

    browser = Browser(served)
    browser.ask("GET", LOGIN)
    browser.cookies[SESSION] = "a" * 32  # somebody put it there
    entered = browser.sign_in("grace", password)
    assert entered.status_code == 302, entered.text
    assert browser.cookies[SESSION] != "a" * 32
    for name, flags in browser.flags.items():
        assert flags["secure"], name
        assert flags["samesite"] == "Lax", name
        assert "domain" not in flags, name
        assert flags.get("httponly") or name == CSRF, name  # which is no secret from its own pages
    for name in (SESSION, CSRF):
        assert browser.flags[name]["path"] == "/"

    page = browser.ask("GET", "/console/")
    while page.status_code == 302:  # a second factor is offered first
        page = browser.ask("GET", page.headers["location"])
    assert page.status_code == 200
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    assert page.headers["x-frame-options"] == "DENY"
    assert "no-store" in page.headers["cache-control"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]

    # A host that is not ours, by whichever header, and two of them.
    assert browser.ask("GET", "/console/", host="evil.example").status_code == 400
    told = browser.ask("GET", LOGIN, x_forwarded_host="evil.example", forwarded="host=evil.example")
    assert "evil" not in told.text + str(told.headers)

    # The cookie of somebody who signed out opens nothing.
    kept = dict(browser.cookies)
    form = {"csrfmiddlewaretoken": browser.cookies[CSRF]}
    out = browser.ask("POST", "/console/logout/", form, origin=f"https://{HOST}")
    assert out.status_code == 302
    browser.cookies = kept
    assert browser.ask("GET", "/console/").headers["location"].startswith("/console/login/")

    # The address that the proxy tells is the one that is kept.
    script = (
        "import json; from tenants.models import AuditEvent as E; "
        "print(json.dumps(E.objects.get(action='sign_in.succeeded').address))"
    )
    assert shell(served.variables, script) == "198.51.100.7"
