"""The project's own app (management commands) and its admin site as the default one."""

from __future__ import annotations

import importlib
import logging

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig

from gateway_project.lib import database_url


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    label = "gateway_project"
    verbose_name = "Gateway"

    def ready(self) -> None:
        for sentence in settings.UNKNOWN_VARIABLES:
            logging.getLogger("tollgate.settings").warning("%s", sentence)
        # Who sends tasks names them to Celery's current app, which must be ours by then. Elsewhere
        # nobody needs Celery, and it takes a third of a second to import.
        if settings.TASKS == "celery":
            importlib.import_module("gateway_project.celery")
        database_url.make_private(settings.DATABASES["default"])


class ConsoleConfig(AdminConfig):
    default_site = "gateway_project.console.ConsoleSite"
