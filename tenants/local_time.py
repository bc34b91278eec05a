"""Instants as people in a time zone read them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def minute(at: datetime, zone: str) -> str:
    """Such as 2026-10-01 00:00."""
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def day(at: datetime, zone: str) -> str:
    """The date, with the time where it is not midnight."""
    return minute(at, zone).removesuffix(" 00:00")
