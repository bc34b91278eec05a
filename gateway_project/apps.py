"""The project's own app (management commands) and its admin site as the default one."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from allauth.account.apps import AccountConfig
from django.apps import AppConfig
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.core import checks
from django.utils.module_loading import import_string

from gateway_project.lib import database_url
from gateway_project.model_words import translate_models

CONSOLE_SITE = "gateway_project.console.ConsoleSite"


def check_site(**_options: Any) -> list[checks.CheckMessage]:
    """Refuse a site that something, such as a theme, has put in the place of the console's."""
    if isinstance(admin.site, import_string(CONSOLE_SITE)):
        return []
    return [
        checks.Error(
            f"django.contrib.admin.site is a {type(admin.site).__name__}, not the console's: it does not "
            "keep autocompletion, redirects and the log to what a person may see.",
            hint='List "unfold.apps.BasicAppConfig" in INSTALLED_APPS rather than "unfold".',
            id="gateway_project.E001",
        )
    ]


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    label = "gateway_project"
    verbose_name = "Gateway"

    def ready(self) -> None:
        checks.register(check_site, checks.Tags.admin)
        translate_models()
        for sentence in settings.UNKNOWN_VARIABLES:
            logging.getLogger("tollgate.settings").warning("%s", sentence)
        # Who sends tasks names them to Celery's current app, which must be ours by then. Elsewhere
        # nobody needs Celery, and it takes a third of a second to import.
        if settings.TASKS == "celery":
            importlib.import_module("gateway_project.celery")
        database_url.make_private(settings.DATABASES["default"])


class ConsoleConfig(SimpleAdminConfig):
    """Django's admin, whose pages a server imports with the first request for one (console_urls.py)."""

    default_site = CONSOLE_SITE

    def ready(self) -> None:
        super().ready()
        if not settings.LATE_CONSOLE:
            admin.autodiscover()


class AccountsConfig(AccountConfig):  # type: ignore[misc]  # allauth has no types
    """allauth's accounts, served by our middleware: its own would answer the API's requests too."""

    def ready(self) -> None:
        importlib.import_module("allauth.account.checks")
