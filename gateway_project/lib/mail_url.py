"""Parse the mail server's settings from a URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from gateway_project.lib.env import SettingError
from gateway_project.lib.secret import Secret

# Whether TLS begins at once or is agreed on first (STARTTLS), and the usual port.
_SCHEMES = {
    "smtp": (False, True, 587),
    "smtps": (True, False, 465),
    "smtp+plain": (False, False, 25),
}
TIMEOUT_SECONDS = 10


def parse(url: Secret) -> dict[str, Any]:
    """Return Django's settings for `smtp://user:password@host:port`; `smtps` and `smtp+plain` likewise.

    Errors say what is wrong but never quote the URL, which holds a password.
    """
    parts = urlsplit(url.reveal())
    if parts.scheme not in _SCHEMES:
        raise SettingError(
            "TOLLGATE_SMTP_URL must begin with smtp:// (STARTTLS), smtps:// or smtp+plain://."
        )
    if not parts.hostname:
        raise SettingError("TOLLGATE_SMTP_URL names no host.")
    try:
        port = parts.port
    except ValueError:  # quotes what stands there
        raise SettingError("TOLLGATE_SMTP_URL has a port that is not a number.") from None
    is_tls, starts_tls, usual_port = _SCHEMES[parts.scheme]
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or usual_port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": is_tls,
        "EMAIL_USE_TLS": starts_tls,
    }
