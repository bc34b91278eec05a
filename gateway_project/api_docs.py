"""Serve the management API's schema as it was checked in, and a page that shows it."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

SCHEMA = settings.BASE_DIR / "docs" / "openapi" / "management.yaml"
# Swagger UI writes styles into its elements; everything else comes from files of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    return HttpResponse(SCHEMA.read_bytes(), content_type="application/yaml")


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    page = render(request, "api_docs.html")
    page.headers["content-security-policy"] = POLICY
    return page
