"""The console speaks the language of its reader, and nothing else does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.translation import trans_real

from tenants.console.language import spoken_to
from tenants.sign_in import by_session
from tests.api.callers import of_operator
from tests.console.pages import text

pytestmark = pytest.mark.django_db

GERMAN = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}
HOME = "/console/"


def chosen(client: Client, language: str, **extra: Any) -> Any:
    return client.post(reverse("set_language"), {"language": language}, **extra)


def test_pages_are_in_the_language_that_the_browser_asks_for(operator: Client):
    for accepted, language in (
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr, de;q=0.1", "de"),
        ("fr", "en"),
        ("en-US,de;q=0.9", "en"),
        ("\u00ff;q=x,,*", "en"),
    ):
        page = operator.get(HOME, headers={"accept-language": accepted})
        assert f'<html lang="{language}"' in text(page), accepted
        assert page["Content-Language"] == language
        assert {"Accept-Language", "Cookie"} <= set(page["Vary"].split(", "))
    assert translation.get_language() == "en"  # the thread goes back to what it was


def test_a_choice_in_the_account_menu_counts_more_than_the_browser(operator: Client):
    page = text(operator.get(HOME, headers=GERMAN))
    assert 'name="language" value="en"' in page
    assert 'name="language" value="de" lang="de" aria-pressed="true"' in page
    came_from = {"referer": "http://testserver/console/usage/?period=7d"}
    answer = chosen(operator, "en", headers=came_from)
    assert answer.url == came_from["referer"]
    assert '<html lang="en"' in text(operator.get(HOME, headers=GERMAN))
    chosen(operator, "de")
    assert '<html lang="de"' in text(operator.get(HOME))
    cookie = operator.cookies["tollgate_language"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_a_choice_leads_nowhere_else_and_knows_no_other_language(operator: Client):
    assert chosen(operator, "de", headers={"referer": "https://elsewhere.example/"}).url == "/"
    assert operator.get(reverse("set_language")).status_code == 405
    for unknown in ("xx", "../de", ""):
        chosen(operator, unknown)
        assert '<html lang="de"' in text(operator.get(HOME)), unknown
    assert Client(enforce_csrf_checks=True).post(reverse("set_language")).status_code == 403


def test_strangers_sign_in_in_their_language_and_read_errors_in_it(db: None):
    stranger = Client()
    assert '<html lang="de"' in text(stranger.get(reverse("account_login"), headers=GERMAN))
    chosen(stranger, "de")
    missing = stranger.get("/console/no-such-page/", follow=True)
    assert '<html lang="de"' in text(missing)


def test_programs_read_english_and_load_no_catalogue(
    http_from_root: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[str] = []
    load = trans_real.translation

    def noted(language: str) -> Any:
        loaded.append(language)
        return load(language)

    monkeypatch.setattr(trans_real, "translation", noted)
    token = of_operator().client.defaults["HTTP_AUTHORIZATION"]
    key = http_from_root.headers["authorization"]
    asked = [
        *((key, "GET", f"/v1/{path}") for path in ("models", "nothing", "responses/resp_1")),
        *((key, "POST", f"/v1/{path}") for path in ("responses", "chat/completions")),
        *((token, "GET", f"/api/v1/{path}") for path in ("keys", "nothing", "keys/1")),
        *((token, "POST", f"/api/v1/{path}") for path in ("keys", "aliases", "tenants")),
        ("", "GET", "/v1/models"),
        ("", "GET", "/api/v1/keys"),
    ]
    german = {**GERMAN, "cookie": "tollgate_language=de"}
    for authorization, method, path in asked:
        told = []
        for language in ({}, german):
            headers = {**language, "authorization": authorization}
            answer = http_from_root.request(method, path, json={}, headers=headers)
            assert "Content-Language" not in answer.headers, path
            assert "Accept-Language" not in answer.headers.get("Vary", ""), path
            said = answer.json()
            told.append((answer.status_code, said.get("error", {}).get("message", list(said))))
        assert told[0] == told[1], path
    assert "de" not in loaded


def test_what_is_pushed_to_an_open_page_is_in_its_language(operator: Client):
    cookie = f"sessionid={operator.cookies['sessionid'].value}"
    session_id = by_session.session_id_of({"headers": [(b"cookie", cookie.encode())]})
    accepted, english = (b"accept-language", b"de"), (b"cookie", b"a=b; tollgate_language=en")
    for headers, language in (([accepted, english], "en"), ([accepted], "de"), ([], "en")):
        request = by_session.request_of(session_id, scope={"headers": headers})
        assert request is not None
        with spoken_to(request):
            assert translation.get_language() == language
