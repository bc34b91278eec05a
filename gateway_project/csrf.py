"""What somebody reads whose form the console did not accept, in words of our settings."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.middleware.csrf import REASON_BAD_ORIGIN, REASON_BAD_REFERER

_FOREIGN = (REASON_BAD_ORIGIN.partition("%s")[0], REASON_BAD_REFERER.partition("%s")[0])


def refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page of a form that may have been sent by another site."""
    hint = "Go back, reload the page and send the form again; your browser must accept cookies."
    if reason.startswith(_FOREIGN):
        hint = _of_origin(request)
    elif settings.SESSION_COOKIE_SECURE and not request.is_secure():
        hint = (
            "TOLLGATE_SECURE_COOKIES is on, but this request did not come over https: sign in over https, "
            "and have the proxy that ends TLS set X-Forwarded-Proto."
        )
    text = f"The form was not accepted: {reason.rstrip('.')}. {hint}\n"
    return HttpResponseForbidden(text, content_type="text/plain; charset=utf-8")


def _of_origin(request: HttpRequest) -> str:
    origin = request.headers.get("origin", "") or "https://gateway.example.com"
    return (
        "If that is this console's own address, list it in TOLLGATE_TRUSTED_ORIGINS (such as "
        f"TOLLGATE_TRUSTED_ORIGINS={origin[:200]}). Behind a proxy that ends TLS, also set "
        "TOLLGATE_SECURE_COOKIES=true."
    )
