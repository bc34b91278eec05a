"""Start the app. With Redis, every change of the configuration is announced to all workers."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _


class ResponsesApiConfig(AppConfig):
    name = "responses_api"
    verbose_name = _("Responses API")

    def ready(self) -> None:
        # Models can only be imported now. Of these, panels, managed and configuration register what
        # people and files can say.
        from responses_api.background import runs  # noqa: PLC0415
        from responses_api.enforcement import configuration as _guardrail_kind  # noqa: F401, PLC0415
        from responses_api.enforcement import managed as _guardrails  # noqa: F401, PLC0415
        from responses_api.enforcement import request_panel as _events  # noqa: F401, PLC0415
        from responses_api.resources import cache_panel as _cache_panel  # noqa: F401, PLC0415
        from responses_api.resources import request_panels as _panels  # noqa: F401, PLC0415
        from responses_api.resources import snippets  # noqa: PLC0415
        from responses_api.storage import managed as _kept  # noqa: F401, PLC0415
        from responses_api.storage import purging as _purges  # noqa: F401, PLC0415
        from responses_api.webhooks import attention as _attention  # noqa: F401, PLC0415
        from responses_api.webhooks import configuration as _kinds  # noqa: F401, PLC0415
        from responses_api.webhooks import managed as _webhooks  # noqa: F401, PLC0415
        from tenants.console.snippets import add_writers  # noqa: PLC0415
        from tenants.deletion import asking  # noqa: PLC0415

        add_writers(*snippets.WRITERS)
        asking.add_ending(runs.cancel_of_tenant)
        from tenants import revision  # noqa: PLC0415

        revision.on_change(_announce_change)


def _announce_change() -> None:
    if settings.REDIS_URL is not None:
        # Importing redis would cost every process that does not use it.
        from gateway_project.lib import announcements  # noqa: PLC0415

        announcements.announce(settings.REDIS_URL)
