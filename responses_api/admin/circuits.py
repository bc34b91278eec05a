"""Console page of open circuits: what is left alone, why and for how long, and a button to try it again."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import errors
from gateway_project.lib.json import Json
from responses_api.admin.in_flight import age_of
from responses_api.app_state import circuits_of
from responses_api.live import circuits
from responses_api.live.circuits import ShownCircuit
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope

KINDS = {
    "provider": gettext_lazy("provider"),
    "model": gettext_lazy("model"),
    "credential": gettext_lazy("credential"),
    "credential_model": gettext_lazy("model with this credential"),
}
OPENED_BY = {"failures": gettext_lazy("failures"), "hold": gettext_lazy("on hold")}


@console_page
class CircuitsPage(ConsolePage):
    """The circuits that are open, on all workers."""

    path = "circuits"
    name = "circuits"
    title = gettext_lazy("Circuits")
    template = "console/circuits.html"
    area = Area.PROVIDERS
    methods = frozenset({"GET", "HEAD", "POST"})

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        if request.method != "POST":
            return super().respond(request, scope, **captured)
        try:
            name = request.POST.get("circuit", "")
            async_to_sync(circuits.reset)(circuits_of(request), scope.who, name)
        except errors.NotFound:
            messages.info(request, _("That circuit is not open any more."))
        except errors.PermissionDenied as error:
            messages.error(request, error.message)
        else:
            messages.success(request, _("The circuit is closed; the next call tries it."))
        return HttpResponseRedirect(f"{reverse('admin:circuits')}{scope.link()}")

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        shown = async_to_sync(circuits.see)(circuits_of(request), scope.who)
        return {"rows": [_row(each) for each in shown.circuits], "reach": shown.reach}


def _row(circuit: ShownCircuit) -> Json:
    told = circuit.fields
    return {
        **told,
        "kind": KINDS[told["kind"]],
        "opened_by": OPENED_BY[told["opened_by"]],
        "rest": age_of(told["seconds"]) if told["seconds"] else _("being tried again"),
        "may_reset": circuit.may_reset,
    }
