"""Who follows or makes a run is told that something happened to it, wherever that was."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

_listeners: list[Callable[[str], None]] = []


def on_ring(listener: Callable[[str], None]) -> None:
    """Call `listener`, in any thread, with the id of each run that somebody else ended in this process."""
    _listeners.append(listener)


def forget(listener: Callable[[str], None]) -> None:
    """Undo `on_ring`."""
    _listeners.remove(listener)


def ring(response_id: str) -> None:
    """Tell this process, and with Redis all others. They would find out by themselves a moment later."""
    for listener in tuple(_listeners):
        listener(response_id)
    if settings.REDIS_URL is not None:
        from responses_api import announcements  # noqa: PLC0415  # redis only where it is used

        announcements.announce(settings.REDIS_URL, response_id.encode(), announcements.RUNS_CHANNEL)
