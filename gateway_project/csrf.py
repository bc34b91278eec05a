"""Explain a refused console form in terms of Tollgate's settings."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.middleware.csrf import REASON_BAD_ORIGIN, REASON_BAD_REFERER
from django.shortcuts import render

from tenants.access.middleware import CONSOLE

_FOREIGN = (REASON_BAD_ORIGIN.partition("%s")[0], REASON_BAD_REFERER.partition("%s")[0])


def refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the page shown when a form may have been sent by another site."""
    hint = "Go back, reload the page and send the form again; your browser must accept cookies."
    if reason.startswith(_FOREIGN):
        hint = _of_origin(request)
    elif settings.SESSION_COOKIE_SECURE and not request.is_secure():
        hint = (
            "TOLLGATE_SECURE_COOKIES is on, but this request did not use https: sign in over https, "
            "and have the proxy that terminates TLS set X-Forwarded-Proto."
        )
    refusal = f"The form was refused: {reason.rstrip('.')}."
    if request.path.startswith(CONSOLE):
        return render(request, "403_csrf.html", {"refusal": refusal, "hint": hint}, status=403)
    text = f"{refusal} {hint}\n"
    return HttpResponseForbidden(text, content_type="text/plain; charset=utf-8")


def _of_origin(request: HttpRequest) -> str:
    origin = request.headers.get("origin", "") or "https://gateway.example.com"
    return (
        "If that is the address of this console, set TOLLGATE_PUBLIC_URL to it, or list it in "
        f"TOLLGATE_TRUSTED_ORIGINS (such as TOLLGATE_TRUSTED_ORIGINS={origin[:200]}) and, behind a proxy "
        "that terminates TLS, set TOLLGATE_SECURE_COOKIES=true."
    )
