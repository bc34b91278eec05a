"""Signing in, as a person sees it."""

from __future__ import annotations

from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)

from tests.e2e.person import Person
from tests.support.identity_provider import Provider

STAFF = """
from django.contrib.auth.models import User
from gateway_project.lib.secret import Secret
from tenants.models import ExternalIdentity, IdentityProvider
from tenants.sign_in import identities
staff = IdentityProvider(name="Staff", issuer={issuer!r}, client_id="console", allow_private_network=True)
identities.set_secret(staff, Secret("a secret of the console"))
staff.save()
user = User.objects.get(username={username!r})
ExternalIdentity.objects.create(issuer={issuer!r}, subject=user.username, user=user)
print("null")
"""


def codes_of(secret: str) -> list[str]:
    """The codes an app shows now, before and after: each works once."""
    return [format_hotp_value(hotp_value(secret, n)) for n in yield_hotp_counters_from_time()]


def test_an_operator_sets_up_an_authenticator_app_and_signs_in_with_it(operator: Person) -> None:
    page = operator.page
    operator.open("/console/")
    operator.picture("sign-in")
    operator.sign_in()
    operator.sees("A second factor")
    operator.picture("second-factor-offer")
    page.get_by_role("link", name="Set up an authenticator app").click()
    operator.sees("Set up an authenticator app")
    secret = page.locator("#authenticator_secret").inner_text()
    operator.picture("authenticator-app")
    page.get_by_label("Authenticator code").fill(codes_of(secret)[1])
    page.get_by_role("button", name="Turn it on").click()
    operator.sees("Recovery codes")
    assert page.locator("#recovery_codes li").count() == 10
    operator.picture("recovery-codes")
    operator.open("/console/accounts/2fa/")
    operator.picture("second-factors")

    operator.sign_out()
    operator.sign_in()
    operator.sees("Second factor")
    operator.picture("second-factor")
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("Incorrect code").wait_for()
    page.get_by_label("Code").fill(codes_of(secret)[2])
    page.get_by_role("button", name="Sign in", exact=True).click()
    operator.sees("Overview")
    operator.picture("console")


def test_an_operator_adds_a_passkey_and_needs_no_password_any_more(operator: Person) -> None:
    page = operator.page
    operator.gain_authenticator()
    operator.sign_in()
    page.get_by_role("link", name="Add a passkey").click()
    operator.sees("Add a passkey")
    page.get_by_label("Sign in with it alone").check()
    operator.picture("add-passkey")
    page.get_by_role("button", name="Add the passkey").click()
    operator.sees("Recovery codes")
    operator.open("/console/accounts/2fa/passkeys/")
    operator.picture("passkeys")

    operator.sign_out()
    page.get_by_role("button", name="Sign in with a passkey").click()
    operator.sees("Overview")
    operator.sign_out()
    operator.sign_in()
    operator.sees("Second factor")
    page.get_by_role("button", name="Use a passkey").click()
    operator.sees("Overview")


def test_a_new_key_asks_who_it_is_and_then_shows_its_secret(operator: Person) -> None:
    page = operator.page
    operator.sign_in()
    page.get_by_role("button", name="Later").click()
    operator.sees("Overview")
    operator.let_confirmation_lapse()
    operator.open("/console/tenants/apikey/add/?tenant=default")
    page.get_by_label("Name", exact=True).fill("made by a person")
    page.get_by_role("button", name="Create the key").click()
    operator.sees("Confirm that it is you")
    operator.picture("confirm")
    page.get_by_label("Password").fill(operator.password)
    page.get_by_role("button", name="Confirm").click()
    operator.sees("Copy the secret now")
    assert "tg_live_" in page.locator("code").first.inner_text()
    operator.picture("new-key")


def test_an_operator_who_is_known_to_the_platforms_provider_signs_in_there(
    operator: Person, provider: Provider
) -> None:
    page = operator.page
    operator.run(STAFF, issuer=provider.issuer, username=operator.name)
    operator.open("/console/")
    operator.picture("sign-in-with-a-provider")
    page.get_by_role("link", name="Sign in through Staff").click()
    page.get_by_placeholder("sub").fill(operator.name)
    page.get_by_role("button", name="Authorize").click()
    operator.sees("A second factor")
    page.get_by_role("button", name="Later").click()
    operator.sees("Overview")

    operator.sign_out()
    page.get_by_role("link", name="Sign in through Staff").click()
    page.get_by_placeholder("sub").fill("somebody else")
    page.locator("form", has=page.get_by_placeholder("sub")).get_by_role("button").click()
    operator.sees("Not signed in")
    operator.picture("not-signed-in")


def test_the_sessions_page_lists_this_browser(operator: Person) -> None:
    operator.sign_in()
    operator.open("/console/accounts/sessions/")
    operator.sees("Your sessions")
    operator.page.get_by_text("This one").wait_for()
    operator.picture("sessions")
    operator.page.set_viewport_size({"width": 390, "height": 800})
    operator.picture("sessions-on-a-telephone")
    operator.open("/console/accounts/2fa/")
    operator.picture("second-factors-on-a-telephone")
    operator.page.emulate_media(color_scheme="dark")
    operator.picture("second-factors-in-the-dark")
