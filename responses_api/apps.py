"""The app's start-up: with Redis, every change of the configuration is announced to all workers."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class ResponsesApiConfig(AppConfig):
    name = "responses_api"
    verbose_name = "Responses API"

    def ready(self) -> None:
        if (url := settings.REDIS_URL) is None:
            return
        # Models can be imported only now, and redis costs every process that does not use it.
        from responses_api import announcements  # noqa: PLC0415
        from tenants import revision  # noqa: PLC0415

        revision.on_change(lambda: announcements.announce(url))
