"""The console's page about the installation itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gateway_project import system_report
from tenants.access.requests import access
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope

# What each setting says for how long is kept.
KEPT_WORDS: Mapping[str, str | Promise] = {
    "TOLLGATE_USAGE_DAYS": _("Calls of the ledger"),
    "TOLLGATE_REFUSAL_DAYS": _("Refused requests"),
    "TOLLGATE_GUARDRAIL_EVENT_DAYS": _("Events of guardrails"),
    "TOLLGATE_AUDIT_DAYS": _("The audit log"),
    "TOLLGATE_SPOOL_ARCHIVE_DAYS": _("Spools that were read"),
}


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
        report = system_report.report(scope.who)
        kept = [(KEPT_WORDS[name], name, days) for name, days in report.kept_days]
        return {"report": report, "kept": kept}
