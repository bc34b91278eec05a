"""Second factors: who has one, who should, and how their secrets are sealed.

A sealed secret is bound to its owner. allauth seals only for the person who is signed in, and opens only
for them or for the person who is signing in; that is whose place is asked for here, so that a secret
copied into another person's row does not open there.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from allauth.account.internal.stagekit import unstash_login
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext

from gateway_project.lib import sealing
from gateway_project.lib.secret import Secret
from tenants.access.addresses import address_of
from tenants.audit.sign_ins import count_failure
from tenants.keys import fingerprints
from tenants.keys.encryption import keyring
from tenants.models import ConsoleSession
from tenants.sign_in.factors import has_one

LATER_COOKIE = "tollgate_later"
LATER_DAYS = 30
SEALED = {Authenticator.Type.TOTP: "secret", Authenticator.Type.RECOVERY_CODES: "seed"}


class ConsoleFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """The rules of second factors in the console."""

    def encrypt(self, text: str) -> str:
        fingerprints.confirm(fingerprints.ENCRYPTION, keyring())
        return sealing.seal(Secret(text), _place(_owner(context.request)), keyring())

    def decrypt(self, encrypted_text: str) -> str:
        """Open a secret. Raise SealError or KeyringError; never fall open."""
        return sealing.unseal(encrypted_text, _place(_owner(context.request)), keyring()).reveal()

    def get_totp_label(self, user: AbstractBaseUser) -> str:
        return user.get_username()

    def _get_user_identifier(self, user: AbstractBaseUser) -> str:
        return user.get_username()

    def generate_authenticator_name(self, user: AbstractBaseUser, type: str) -> str:  # noqa: A002
        held = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return "Passkey" if not held else f"Passkey {held + 1}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Name the relying party: the console's host name."""
        return {"id": host_name(context.request), "name": "Tollgate"}


@receiver(authentication_failed)
def _note_failure(request: HttpRequest, user: Any, **_: Any) -> None:
    """Let the audit log tell of wrong codes: whoever gives one knew the password."""
    count_failure(address_of(request), user.pk)


def should_offer(request: HttpRequest, user: Any) -> bool:
    """Tell whether to offer a second factor now: to operators, unless this browser said 'later'."""
    if not user.is_superuser or has_one(user.pk):
        return False
    try:
        said = request.get_signed_cookie(
            LATER_COOKIE, default="", salt=LATER_COOKIE, max_age=LATER_DAYS * 24 * 60 * 60
        )
    except BadSignature:
        return True
    return said != str(user.pk)


def say_later(request: HttpRequest, response: HttpResponseBase) -> None:
    """Let this browser not offer it again for some time."""
    response.set_signed_cookie(
        LATER_COOKIE,
        str(request.user.pk),
        salt=LATER_COOKIE,
        max_age=LATER_DAYS * 24 * 60 * 60,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
        path="/console/",
    )


def offers_passkeys(request: HttpRequest) -> bool:
    """Tell whether a browser would make a passkey here: a host name, over TLS or on this machine."""
    host = host_name(request)
    if _is_address(host):
        return False
    return request.is_secure() or host == "localhost" or host.endswith(".localhost")


def why_no_passkeys(request: HttpRequest) -> str:
    """Say why passkeys are not offered; empty where they are."""
    if offers_passkeys(request):
        return ""
    if _is_address(host_name(request)):
        return gettext(
            "Passkeys belong to a host name, and this console was opened by the address "
            "%(address)s. Open it by its name to use them."
        ) % {"address": host_name(request)}
    return gettext("Passkeys need https: browsers make none over an unencrypted connection.")


def host_name(request: HttpRequest) -> str:
    """Return the host of the request without its port."""
    host = request.get_host()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.strip("[]").lower()


@transaction.atomic
def reset(user: AbstractBaseUser) -> int:
    """Take away every second factor of a person and end their sessions. Return how many factors."""
    removed, _ = Authenticator.objects.filter(user_id=user.pk).delete()
    ConsoleSession.objects.filter(user=user.pk).delete()
    return int(removed)


def rewrap_all() -> int:
    """Seal every secret with the current key and return how many changed. Safe to repeat."""
    current, _ = keyring().current
    keys = Authenticator.objects.filter(type__in=SEALED).values_list("pk", flat=True)
    return sum(_rewrap(pk, current) for pk in list(keys))


@transaction.atomic
def _rewrap(pk: int, current: str) -> int:
    row = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if row is None:
        return 0
    name = SEALED[row.type]
    sealed = row.data[name]
    if sealing.key_id_of(sealed) == current:
        return 0
    plain = sealing.unseal(sealed, _place(row.user_id), keyring())
    row.data[name] = sealing.seal(plain, _place(row.user_id), keyring())
    row.save(update_fields=["data"])
    return 1


def _owner(request: HttpRequest) -> int:
    """Return whose second factor it is: of who is signing in, else of who is signed in."""
    if request.user.is_authenticated:
        return int(request.user.pk)
    login = unstash_login(request, peek=True)
    if login is None or login.user is None:
        raise PermissionDenied
    return int(login.user.pk)


def _place(user_id: int) -> str:
    return f"mfa_authenticator|data|{user_id}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
