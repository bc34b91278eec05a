"""The AdminSite that is Tollgate's console; the pages live in the apps' admin modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.http import urlencode

from tenants.access.requests import access
from tenants.console import navigation, pages
from tenants.console.header import header

if TYPE_CHECKING:
    from django.contrib.admin.models import LogEntry
    from django.db.models import QuerySet


class ConsoleAutocomplete(AutocompleteJsonView):
    """Django's autocomplete view, hardened: Django's fails on the reverse side of a relation and on a
    NUL.
    """

    def process_request(self, request: HttpRequest) -> tuple[Any, ...]:
        asked = super().process_request(request)
        if asked[2].auto_created:
            raise PermissionDenied
        return asked[0].replace("\0", ""), *asked[1:]


class ConsoleSite(AdminSite):
    """Django's admin site without the views that ignore which rows a page may show."""

    site_header = "Tollgate"
    site_title = "Tollgate"
    index_title = "Console"
    site_url = None  # there is no other site to view

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in whoever may do anything at all; a staff flag alone opens nothing."""
        return bool(access(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        known = {**super().each_context(request), **header(request)}
        return {**known, "menu": navigation.menu(request)}

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Return Django's list of an app's models once somebody reads it: the page of an app does, and all
        others draw our menu instead.
        """
        read = super().get_app_list
        return SimpleLazyObject(lambda: read(request, app_label))

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Leave out `/r/<content type>/<id>/`, which looks rows up with the unscoped base manager."""
        kept = [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]
        return [
            # Not by `admin_view`: whoever may do nothing here signs out, too.
            path("logout/", self.logout, name="logout"),
            *pages.routes(self),
            *kept,
        ]

    def get_log_entries(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """Show log entries to operators only: a person's own entries may name rows of a tenant they have
        left.
        """
        entries = super().get_log_entries(request)
        return entries if access(request).is_operator else entries.none()

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        found: HttpResponse = ConsoleAutocomplete.as_view(admin_site=self)(request)  # type: ignore[assignment]
        return found

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the sign-in, or say that there is nothing to see for whoever is signed in."""
        target = request.GET.get("next", reverse("admin:index"))
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            return redirect("no_access")
        return redirect(f"{reverse('account_login')}?{urlencode({'next': target})}")

    def logout(  # type: ignore[override]  # the stubs promise a page
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """End the session; only a form of ours may ask for it."""
        if request.method == "POST":
            logout(request)
        return redirect("account_login")

    def password_change(  # type: ignore[override]  # as above
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")


def describe_console(request: HttpRequest) -> dict[str, Any]:
    """Give the pages of signing in what the admin's own pages know: titles, and the menu."""
    if not request.path.startswith("/console/accounts/") or not hasattr(request, "user"):
        return {}
    return admin.site.each_context(request)
