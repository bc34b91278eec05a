"""Pages of the console that show no one model: overview, usage, what is running.

Each is a class with `@console_page`, in the `admin/` folder of the app that owns its data. Registered pages
are found by the navigation and crawled by the isolation tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import Promise

from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console.scope import Scope, read_scope


class ConsolePage:
    """A page at `/console/<path>/`, named `admin:<name>`; without a path it is the console's first one.

    A subclass gives `context`, and may take over `respond` for what is no page: a file, JSON for a script,
    a form that is posted. Captured parts of the path come to both as keywords.
    """

    path: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str | Promise]
    template: ClassVar[str]
    area: ClassVar[Area | None] = (
        None  # whoever may view it somewhere sees the page; None: everybody
    )
    operators_only: ClassVar[bool] = False
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD"})
    period: ClassVar[str] = "24h"

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        """Tell whether the person sees the page; what it shows is narrowed further by its scope."""
        who = access(request)
        if cls.operators_only and not who.is_operator:
            return False
        return bool(who) if cls.area is None else who.may_somewhere("view", cls.area)

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        """Return the template's variables."""
        return {}

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        """Return the page."""
        return self.rendered(request, scope, self.context(request, scope, **captured))

    def rendered(
        self, request: HttpRequest, scope: Scope, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        """Return the template with what every page knows, and `context`."""
        assert self.site is not None
        known = {**self.site.each_context(request), "title": self.title, "scope": scope}
        return TemplateResponse(request, self.template, {**known, **context}, status=status)

    site: AdminSite | None = None

    def handle(self, request: HttpRequest, **captured: Any) -> HttpResponse:
        """Answer a request that the site has let in."""
        if request.method not in self.methods:
            return HttpResponse(status=405, headers={"Allow": ", ".join(sorted(self.methods))})
        if not self.may(request):
            raise PermissionDenied
        return self.respond(request, read_scope(request, self.period), **captured)


Page = TypeVar("Page", bound=type[ConsolePage])
_registered: list[type[ConsolePage]] = []


def console_page(page: Page) -> Page:
    """Register a page, as a decorator."""
    if any(each.name == page.name or each.path == page.path for each in _registered):
        raise ValueError(f"There is a page with the name or path of {page.__name__} already.")
    _registered.append(page)
    return page


def registered() -> tuple[type[ConsolePage], ...]:
    """Return the pages in the order in which they were registered."""
    return tuple(_registered)


def routes(site: AdminSite) -> list[URLPattern]:
    """Return the routes of all registered pages, behind the site's sign-in."""
    return [
        path(f"{page.path}/" if page.path else "", _view(site, page), name=page.name)
        for page in _registered
    ]


def _view(site: AdminSite, page: type[ConsolePage]) -> Callable[..., HttpResponse]:
    shown = page()
    shown.site = site
    view: Callable[..., HttpResponse] = site.admin_view(shown.handle)
    return view
