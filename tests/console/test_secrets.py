"""Secrets go into the console and do not come out of it."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.views.debug import get_exception_reporter_filter

from routing import credentials
from routing.models import Credential, Provider
from tenants.keys import keys, peppers
from tenants.models import ApiKey, AuditEvent, KeySecret
from tests.console import world as worlds
from tests.console.pages import alias_form, credential_form, do, key_form, text, url
from tests.console.world import SECRET, World
from tests.support import rows

pytestmark = pytest.mark.django_db

POSTED = "sk-posted-secret-12345"
KEY = re.compile(r"tg_live_\w+")


def posted_credential(world: World, **fields: Any) -> dict[str, Any]:
    return credential_form(provider=world.platform.provider.pk, **fields)


# Credentials


def test_a_posted_secret_reaches_the_sealed_row(world: World, operator: Client):
    assert operator.post(url(Credential, "add"), posted_credential(world)).status_code == 302

    row = Credential.objects.get(name="new credential")
    assert credentials.reveal(row).reveal() == POSTED
    assert row.sealed_secret.startswith("v1.")
    assert row.last_four == "2345"


def test_a_secret_of_tenant_staff_is_sealed_for_their_tenant(world: World, admin: Client):
    admin.post(url(Credential, "add"), posted_credential(world))

    row = Credential.objects.get(name="new credential")
    assert row.tenant == world.ours.tenant
    assert credentials.reveal(row).reveal() == POSTED


def test_staff_of_two_tenants_seal_for_the_one_they_chose(world: World):
    client = worlds.staff("admin", world.ours.tenant, world.theirs.tenant)

    client.post(url(Credential, "add"), posted_credential(world, tenant=world.theirs.tenant.pk))

    row = Credential.objects.get(name="new credential")
    assert row.tenant == world.theirs.tenant
    assert credentials.reveal(row).reveal() == POSTED


def test_a_new_credential_needs_a_secret(world: World, operator: Client):
    answer = operator.post(url(Credential, "add"), posted_credential(world, secret=""))

    assert "This field is required" in text(answer)
    assert not Credential.objects.filter(name="new credential").exists()


def test_an_empty_secret_keeps_the_present_one(world: World, admin: Client):
    row = world.ours.credential

    admin.post(url(row, "change"), credential_form(name="renamed", secret=""))

    row.refresh_from_db()
    assert row.name == "renamed"
    assert credentials.reveal(row).reveal() == f"ours-{SECRET}"


def test_a_new_secret_replaces_the_present_one(world: World, admin: Client):
    row = world.ours.credential

    admin.post(url(row, "change"), credential_form())

    row.refresh_from_db()
    assert credentials.reveal(row).reveal() == POSTED
    assert row.last_four == "2345"


def test_a_stored_secret_is_not_sent_to_another_provider(world: World, admin: Client):
    row = world.ours.credential
    other = Provider.objects.create(
        name="other", protocol="chat", base_url="https://other.example/v1", tenant=world.ours.tenant
    )

    admin.post(url(row, "change"), credential_form(secret="", provider=other.pk))

    row.refresh_from_db()
    assert row.provider == world.ours.provider


def test_a_refused_form_does_not_give_the_secret_back(world: World, admin: Client):
    for page in (url(Credential, "add"), url(world.ours.credential, "change")):
        answer = admin.post(page, posted_credential(world, name=""))
        assert answer.status_code == 200
        assert 'type="password"' in text(answer)
        assert POSTED not in text(answer)


def test_an_error_report_leaves_the_secret_out(
    world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_args: Any) -> None:
        raise RuntimeError("sealing failed")

    monkeypatch.setattr(credentials, "set_secret", fail)
    admin.raise_request_exception = False

    answer = admin.post(url(Credential, "add"), posted_credential(world))

    assert answer.status_code == 500
    assert POSTED not in repr(_reported(answer.wsgi_request, monkeypatch))


def _reported(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what an error report about this form would hold."""
    filtered = get_exception_reporter_filter(request)
    monkeypatch.setattr(filtered, "is_active", lambda _request: True)
    return dict(filtered.get_post_parameters(request))


def test_readers_of_a_credential_see_no_field_for_a_secret(world: World, viewer: Client):
    page = text(viewer.get(url(world.ours.credential, "change")))

    assert "••••9876" in page
    assert 'name="secret"' not in page


# The database


def test_a_dump_of_the_database_holds_only_sealed_text(world: World, operator: Client):
    operator.post(url(Credential, "add"), posted_credential(world))
    key_text = _secret_on(operator.post(url(ApiKey, "add"), _new_key(world)))
    out = StringIO()

    call_command("dumpdata", "tenants", "routing", "responses_api", "admin", stdout=out)

    dump = out.getvalue()
    assert world.ours.endpoint.sealed_secret in dump
    assert "whsec_" not in dump
    assert Credential.objects.get(name="new credential").sealed_secret in dump
    assert POSTED not in dump
    assert SECRET not in dump
    assert key_text not in dump
    assert key_text.rsplit("_", 1)[1] not in dump


# Keys


def _new_key(world: World) -> dict[str, Any]:
    return key_form(tenant=world.ours.tenant.pk)


def _secret_on(answer: Any) -> str:
    """The one key on a page."""
    [found] = set(KEY.findall(text(answer)))  # once by itself, and in programs to copy
    return str(found)


def test_a_new_key_is_shown_once_and_works(world: World, operator: Client):
    answer = operator.post(url(ApiKey, "add"), _new_key(world))

    secret = _secret_on(answer)
    stored = KeySecret.objects.get(api_key__name="new key")
    assert bytes(stored.digest) == peppers.digest(secret)
    assert "no-store" in answer["Cache-Control"]
    # What is stored nowhere (above) no page can show: these have what is kept of it.
    key = stored.api_key
    pages = [reverse("admin:index"), *(url(model, "changelist") for model in (ApiKey, AuditEvent))]
    for address in (*pages, *(url(key, page) for page in ("change", "history"))):
        assert secret not in text(operator.get(address)), address


def test_a_secret_is_kept_in_no_message_cookie_session_or_log_entry(world: World, operator: Client):
    created = operator.post(url(ApiKey, "add"), _new_key(world))
    key = ApiKey.objects.get(name="new key")
    rotated = do(operator, key, "rotate")
    secrets = {_secret_on(created), _secret_on(rotated)}

    kept = [
        *(str(cookie) for cookie in operator.cookies.values()),
        repr(dict(operator.session)),
        *LogEntry.objects.values_list("object_repr", flat=True),
        *LogEntry.objects.values_list("change_message", flat=True),
    ]
    assert len(secrets) == 2
    assert not any(secret in text for secret in secrets for text in kept)


def test_the_pages_of_a_key_show_the_last_four_only(world: World, admin: Client):
    secret = keys.add_secret(world.ours.key)

    page = text(admin.get(url(world.ours.key, "change")))

    assert f"••••{secret.last_four}" in page
    assert secret.reveal() not in page
    assert "digest" not in page.lower()


def test_a_secret_of_a_key_cannot_be_written_through_its_page(world: World, admin: Client):
    stored = world.ours.key.secrets.get()
    forged = {
        **key_form(),
        "secrets-TOTAL_FORMS": 2,
        "secrets-INITIAL_FORMS": 1,
        "secrets-0-id": stored.pk,
        "secrets-0-DELETE": "on",
        "secrets-0-last_four": "evil",
        "secrets-1-last_four": "evil",
        "secrets-1-digest": "00" * 32,
        "secrets-1-pepper_id": "x",
    }

    admin.post(url(world.ours.key, "change"), forged)

    assert list(world.ours.key.secrets.values_list("pk", "last_four")) == [
        (stored.pk, stored.last_four)
    ]


def test_an_alias_page_names_no_credential(world: World, operator: Client):
    provider = rows.provider("chat", "https://more.example/v1", name="more", secret=SECRET)
    operator.post(url(world.platform.alias, "change"), alias_form(name="plat-alias"))

    assert SECRET[-4:] not in text(operator.get(url(world.platform.alias, "change")))
    assert SECRET[-4:] not in text(operator.get(url(provider, "change")))
