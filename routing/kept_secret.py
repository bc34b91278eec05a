"""Keep a secret in a form between two of its pages, sealed for one person, one host and an hour."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from gateway_project.lib import clock, sealing
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials

LIFETIME_SECONDS = 3600


def keep(secret: Secret, base_url: str, user_id: int | None) -> str:
    """Return a text that only this person's form can be opened with, and only for this host."""
    until = int(clock.now().timestamp()) + LIFETIME_SECONDS
    return (
        f"{until}:{sealing.seal(secret, _place(base_url, user_id, until), credentials.keyring())}"
    )


def open_kept(kept: str, base_url: str, user_id: int | None) -> Secret:
    """Return the secret. Raise ValidationError if it has to be entered again."""
    until, _colon, sealed = kept.partition(":")
    is_number = until.isascii() and until.isdigit() and len(until) < 12
    if is_number and int(until) > clock.now().timestamp():
        try:
            place = _place(base_url, user_id, int(until))
            return sealing.unseal(sealed, place, credentials.keyring())
        except (SealError, KeyringError):
            pass
    told = _(
        "Enter the secret key again: it is kept for an hour, and for the address it was entered for."
    )
    raise ValidationError({"secret": told})


def _place(base_url: str, user_id: int | None, until: int) -> str:
    host = urlsplit(base_url).netloc.lower()
    return f"console|provider_setup|{user_id}|{host}|{until}"
