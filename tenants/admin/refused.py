"""Link a bound to the requests it refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tenants.admin.key_panels import page_address


def refusals_link(bound: Any, count: int | None, code: str, period: str) -> SafeString | str:
    """Show how many requests were refused, as a link to them; `count` None: it may not be seen."""
    if count is None:
        return "—"
    if not count:
        return "0"
    asked = {"tenant": bound.tenant.slug, "code": code}
    if bound.api_key is not None:
        asked["key"] = bound.api_key.public_id
    address = page_address("requests", f"?{urlencode(asked)}&{period}")
    if not address:
        return number_format(count, 0, force_grouping=True)
    return format_html('<a href="{}">{}</a>', address, number_format(count, 0, force_grouping=True))
