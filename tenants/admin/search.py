"""The console's search: a page, and the list that the palette shows while somebody types."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from tenants.console import search
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope


@console_page
class SearchPage(ConsolePage):
    """Leads to the row whose id was typed, or lists what begins with the words."""

    path = "search"
    name = "search"
    title = _("Search")
    template = "console/search.html"

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        words = request.GET.get("q", "")
        groups = search.search(request, words, scope.tenant)
        return {"words": search.cleaned(words), "groups": groups}

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        context = self.context(request, scope)
        if "fragment" in request.GET:
            return TemplateResponse(request, "console/search_results.html", context)
        found = search.exact(context["groups"])
        if found is not None:
            return HttpResponseRedirect(found.address)
        return self.rendered(request, scope, context)
