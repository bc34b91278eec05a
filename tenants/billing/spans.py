"""Read the span of time a command is asked about from its options; errors name the option."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError

from gateway_project.lib import clock
from tenants.billing.instants import month_of, parsed_instant, parsed_month


def asked(options: Mapping[str, Any], zone: str) -> tuple[datetime, datetime]:
    """Return the span of `--month`, or of `--from` and `--to`; without any, the running month so far."""
    if options.get("month"):
        if options.get("from") or options.get("to"):
            raise ValidationError({"month": "Give either a month, or --from and --to."})
        return parsed_month(options["month"], zone)
    now = clock.now()
    end = instant(options, "to", zone) or now
    start = instant(options, "from", zone) or month_of(min(end, now), zone)[0]
    if start >= end:
        raise ValidationError({"from": "It must be before --to."})
    return start, end


def instant(options: Mapping[str, Any], name: str, zone: str = "UTC") -> datetime | None:
    text = options.get(name)
    if not text:
        return None
    try:
        return parsed_instant(text, zone)
    except ValueError as error:
        raise ValidationError({name: str(error)}) from error
