"""Notify those who follow or make a run that something happened to it, in any process."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings

_listeners: list[Callable[[str], None]] = []


def subscribe(listener: Callable[[str], None]) -> None:
    """Call `listener`, in any thread, with the id of each run that somebody else ended in this process."""
    _listeners.append(listener)


def unsubscribe(listener: Callable[[str], None]) -> None:
    """Undo `subscribe`."""
    _listeners.remove(listener)


def publish(response_id: str) -> None:
    """Tell this process, and with Redis all others. Without Redis they find out by themselves a moment
    later."""
    for listener in tuple(_listeners):
        listener(response_id)
    if settings.REDIS_URL is not None:
        from gateway_project.lib import announcements  # noqa: PLC0415  # redis only where it is used

        announcements.announce(settings.REDIS_URL, response_id.encode(), announcements.RUNS_CHANNEL)
