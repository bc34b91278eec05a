"""The console's page about the installation itself."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from gateway_project import system_report
from tenants.access.requests import access
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope


@console_page
class SystemPage(ConsolePage):
    """Shows what needs somebody, and how processes, ledger and database are. For operators and auditors."""

    path = "system"
    name = "system"
    title = _("System")
    template = "console/system.html"

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return access(request).oversees_platform

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        return {"report": system_report.report(scope.who)}
