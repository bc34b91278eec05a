"""The app's start-up: with Redis, every change of the configuration is announced to all workers."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class ResponsesApiConfig(AppConfig):
    name = "responses_api"
    verbose_name = "Responses API"

    def ready(self) -> None:
        # Models can be imported only now.
        from responses_api import watcher  # noqa: PLC0415
        from tenants import revision  # noqa: PLC0415

        if (url := settings.REDIS_URL) is not None:
            revision.on_change(lambda: watcher.announce(url))
