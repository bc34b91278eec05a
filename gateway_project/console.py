"""The AdminSite that is Tollgate's console; the pages live in the apps' admin modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver

if TYPE_CHECKING:
    from django.contrib.admin.models import LogEntry
    from django.db.models import QuerySet


class ConsoleAutocomplete(AutocompleteJsonView):
    """Django's, which fails when it is asked for the other end of a relation, or for a NUL."""

    def process_request(self, request: HttpRequest) -> tuple[Any, ...]:
        asked = super().process_request(request)
        if asked[2].auto_created:
            raise PermissionDenied
        return asked[0].replace("\0", ""), *asked[1:]


class ConsoleSite(AdminSite):
    """Serves Django's admin without the views that ignore which rows a page may show."""

    site_header = "Tollgate"
    site_title = "Tollgate"
    index_title = "Console"
    site_url = None  # there is no other site to view

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """Without `/r/<content type>/<id>/`, which looks rows up with the base manager."""
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def get_log_entries(self, request: HttpRequest) -> QuerySet[LogEntry]:
        """For operators only: a person's own entries may name rows of a tenant they have left."""
        entries = super().get_log_entries(request)
        return entries if getattr(request.user, "is_superuser", False) else entries.none()

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        found: HttpResponse = ConsoleAutocomplete.as_view(admin_site=self)(request)  # type: ignore[assignment]
        return found
