"""The routes of signing in: those of allauth that the console uses, and its own.

What is not listed is not served: sign-up, changes of e-mail addresses, sign-in by code. The module is
imported with the first request below its address; WebAuthn alone takes some megabytes.
"""

from __future__ import annotations

from allauth.account import views as account
from allauth.core.internal import ratelimit
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from django.conf import settings
from django.urls import URLPattern, path, re_path
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from tenants.sign_in import identity_pages, pages

# Each asks for a challenge is a session of a stranger's.
login_by_passkey = ratelimit.decorator(app="allauth.mfa", action="webauthn_login", limit_get=True)(
    webauthn.login_webauthn
)

urlpatterns: list[URLPattern] = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("password/change/", pages.change_password, name="account_change_password"),
    path("2fa/", mfa.index, name="mfa_index"),
    path("2fa/authenticate/", mfa.authenticate, name="mfa_authenticate"),
    path("2fa/reauthenticate/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("2fa/totp/activate/", totp.activate_totp, name="mfa_activate_totp"),
    path("2fa/totp/deactivate/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("2fa/recovery-codes/", recovery_codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "2fa/recovery-codes/generate/",
        recovery_codes.generate_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
    path(
        "2fa/recovery-codes/download/",
        recovery_codes.download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    path("2fa/passkeys/", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path("2fa/passkeys/add/", webauthn.add_webauthn, name="mfa_add_webauthn"),
    path("2fa/passkeys/login/", login_by_passkey, name="mfa_login_webauthn"),
    path(
        "2fa/passkeys/reauthenticate/",
        webauthn.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path("2fa/passkeys/<int:pk>/remove/", webauthn.remove_webauthn, name="mfa_remove_webauthn"),
    path("2fa/passkeys/<int:pk>/edit/", webauthn.edit_webauthn, name="mfa_edit_webauthn"),
    path("provider/", identity_pages.find_provider, name="find_provider"),
    path("provider/<uuid:provider_id>/login/", identity_pages.leave, name="identity_login"),
    path(
        "provider/<uuid:provider_id>/callback/", identity_pages.come_back, name="identity_callback"
    ),
    path("second-factor/", pages.offer_second_factor, name="second_factor"),
    path("sessions/", pages.list_sessions, name="console_sessions"),
    path("language/", require_POST(set_language), name="set_language"),
    path("no-access/", pages.tell_no_access, name="no_access"),
]

RESET: list[URLPattern] = [
    path("password/reset/", account.password_reset, name="account_reset_password"),
    path("password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
if settings.SMTP_URL is not None:  # without it nobody can be sent a link
    urlpatterns += RESET
