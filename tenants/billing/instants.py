"""Convert hours and days of UTC, and months of a time zone, to instants."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])\Z")
_EPOCH = re.compile(r"\d{1,11}\Z")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")


def floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def floor_day(at: datetime) -> datetime:
    return floor_hour(at).replace(hour=0)


def ceil_hour(at: datetime) -> datetime:
    floor = floor_hour(at)
    return floor if floor == at else floor + timedelta(hours=1)


def ceil_day(at: datetime) -> datetime:
    floor = floor_day(at)
    return floor if floor == at else floor + timedelta(days=1)


def month_start(year: int, month: int, zone: str) -> datetime:
    """Return the instant at which the month begins in the zone.

    If midnight does not exist that day, the zone's rule for such times applies, so that one month always
    ends where the next begins.
    """
    return datetime(year, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def month_of(at: datetime, zone: str) -> tuple[datetime, datetime]:
    """Return the month of the zone that contains an instant: its beginning and that of the next."""
    local = at.astimezone(ZoneInfo(zone))
    year, month = next_month(local.year, local.month)
    return month_start(local.year, local.month, zone), month_start(year, month, zone)


def parsed_month(text: str, zone: str) -> tuple[datetime, datetime]:
    """Parse `2026-10` in a zone. Raise ValidationError naming the field."""
    match = _MONTH.match(text)
    if match is None or int(match[1]) == 0:
        raise ValidationError({"month": f"{text!r} is not a month; write it as 2026-10."})
    year, month = int(match[1]), int(match[2])
    return month_start(year, month, zone), month_start(*next_month(year, month), zone)


def parsed_instant(text: str, zone: str = "UTC") -> datetime:
    """Parse ISO 8601, a date (its midnight in the zone), or seconds since the epoch. Raise ValueError."""
    if _EPOCH.match(text):
        return datetime.fromtimestamp(int(text), UTC)
    try:
        at = parse_datetime(f"{text}T00:00:00" if _DATE.match(text) else text.replace(" ", "+"))
        if at is None:
            raise ValueError
        at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text[:60]!r} is not an instant; write 2026-10-01, 2026-10-01T12:00:00Z or seconds since 1970."
        ) from error
