"""The project's own app (management commands) and its admin site as the default one."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"
    label = "gateway_project"
    verbose_name = "Gateway"


class ConsoleConfig(AdminConfig):
    default_site = "gateway_project.console.ConsoleSite"
