"""Let the pages of signing in ask what is offered here, and draw a QR code."""

from __future__ import annotations

import re
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from tenants.models import IdentityDomain, IdentityProvider
from tenants.sign_in import second_factor

register = template.Library()
_PROLOGUE = re.compile(r"<\?xml[^>]*\?>")


@register.simple_tag(takes_context=True)
def offers_passkeys(context: dict[str, Any]) -> bool:
    """Tell whether a browser would use a passkey on this host."""
    return second_factor.offers_passkeys(context["request"])


@register.simple_tag(takes_context=True)
def why_no_passkeys(context: dict[str, Any]) -> str:
    """Say why passkeys are not offered; empty where they are."""
    return second_factor.why_no_passkeys(context["request"])


@register.simple_tag
def platform_providers() -> list[IdentityProvider]:
    """Return the identity providers that stand on the sign-in: the platform's."""
    return list(IdentityProvider.objects.filter(tenant=None, enabled=True))


@register.simple_tag
def finds_providers() -> bool:
    """Tell whether some mail domain leads to a tenant's identity provider."""
    rows = IdentityDomain.objects.filter(confirmed=True, provider__enabled=True)
    return rows.exists()


@register.simple_tag
def drawing(svg: str) -> SafeString:
    """Put a drawing of ours into the page; as an image it would need data: in the policy."""
    return mark_safe(_PROLOGUE.sub("", svg))  # noqa: S308  # made by qrcode of a secret of ours
