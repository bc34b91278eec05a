"""Format instants for people in a time zone."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils.formats import date_format


def minute(at: datetime, zone: str) -> str:
    """Format a minute, such as 2026-10-01 00:00."""
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def day(at: datetime, zone: str) -> str:
    """Format the date, with the time unless it is midnight."""
    return minute(at, zone).removesuffix(" 00:00")


def period(kind: str, starts_at: datetime, ends_at: datetime, zone: str) -> str:
    """Name a month or a day that is one in this zone; anything else by where it begins and ends."""
    begins, ends = (at.astimezone(ZoneInfo(zone)) for at in (starts_at, ends_at))
    is_midnight = begins.time() == ends.time() == time()
    following = (begins.replace(day=1) + timedelta(days=32)).replace(day=1)
    if kind == "monthly" and is_midnight and begins.day == 1 and ends.date() == following.date():
        return date_format(begins, "F Y")
    if kind == "daily" and is_midnight and ends.date() - begins.date() == timedelta(days=1):
        return f"{begins:%Y-%m-%d}"
    return f"{day(starts_at, zone)} to {day(ends_at, zone)}"
