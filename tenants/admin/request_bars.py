"""Draw the chart above the request log: how many requests there were, and how many of them were refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tenants.console.scope import Scope
from tenants.reports.request_volume import Volume, VolumeBar


@dataclass(frozen=True, slots=True)
class ShownBar:
    """A bar of the chart, on a hundred steps from the top; refused requests stand at its foot."""

    bar: VolumeBar
    label: str
    address: str
    top: int
    height: int
    refused_top: int
    refused: int


def bars_of(volume: Volume | None, scope: Scope) -> list[ShownBar]:
    """Return the bars of the chart; none where nothing was counted."""
    if volume is None:
        return []
    highest = max(volume.highest, 1)
    return [_shown_bar(bar, highest, scope) for bar in volume.bars]


def _shown_bar(bar: VolumeBar, highest: int, scope: Scope) -> ShownBar:
    height, refused = (_steps(number, highest) for number in (bar.total, bar.refused))
    return ShownBar(
        bar=bar,
        label=_bar_label(bar, scope.zone),
        address=scope.link(from_=_iso(bar.start), to=_iso(bar.end)),
        top=100 - height,
        height=height,
        refused_top=100 - refused,
        refused=refused,
    )


def _steps(number: int, highest: int) -> int:
    """Return the height of a number; what is there is seen, however little it is."""
    return max(round(100 * number / highest), 2) if number else 0


def _bar_label(bar: VolumeBar, zone: ZoneInfo) -> str:
    start, end = bar.start.astimezone(zone), bar.end.astimezone(zone)
    if bar.end - bar.start > timedelta(hours=1):
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
    return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}"


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}Z"
