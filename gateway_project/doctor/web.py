"""Check the names by which API and console are reached."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from gateway_project.doctor.findings import Finding, Findings
from gateway_project.lib.hosts import AllowedHosts

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


def check_web_settings() -> Findings:
    if settings.DEBUG:
        message = _("TOLLGATE_DEBUG is on: errors show settings and code; never in production")
        yield Finding("hint", "debug", message)
    if "*" in settings.ALLOWED_HOSTS:
        message = _("TOLLGATE_ALLOWED_HOSTS allows any host name; list the real ones")
        yield Finding("hint", "allowed hosts", message)
    else:
        yield Finding("ok", "allowed hosts", ", ".join(settings.ALLOWED_HOSTS))


def check_origins() -> Findings:
    """Check that the console answers to the names by which it is reached."""
    allowed = AllowedHosts(settings.ALLOWED_HOSTS)
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        host = urlsplit(origin).netloc
        if "*" not in host and not allowed.allows(host.encode()):
            message = _(
                "%(origin)s is a trusted origin, but requests to %(host)s are refused: list it in "
                "TOLLGATE_ALLOWED_HOSTS"
            ) % {"origin": origin, "host": host}
            yield Finding("broken", "allowed hosts", message)
    if set(settings.ALLOWED_HOSTS) <= LOCAL_HOSTS:
        message = _(
            "API and console answer only to this machine's own names; list the other names by which "
            "they are reached in TOLLGATE_ALLOWED_HOSTS"
        )
        yield Finding("hint", "allowed hosts", message)
    elif not settings.SESSION_COOKIE_SECURE and not settings.CSRF_TRUSTED_ORIGINS:
        message = _(
            "if a proxy terminates TLS, console forms are refused until TOLLGATE_PUBLIC_URL, "
            "TOLLGATE_TRUSTED_ORIGINS or TOLLGATE_SECURE_COOKIES is set"
        )
        yield Finding("hint", "trusted origins", message)


def check_public_url() -> Findings:
    """Check that what is printed for clients and sent to people names an address that they can reach."""
    is_behind_proxy = bool(settings.TRUSTED_PROXIES) or settings.SECURE_COOKIES
    if settings.PUBLIC_URL is None and is_behind_proxy:
        message = _(
            "TOLLGATE_PUBLIC_URL is not set although a proxy stands in front: snippets, profiles and "
            "links may name an address that nobody outside can reach"
        )
        yield Finding("hint", "public url", message)
    elif settings.PUBLIC_URL is not None:
        yield Finding("ok", "public url", settings.PUBLIC_URL)
