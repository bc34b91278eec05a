"""Ask people to confirm that it is them before something that an open browser must not give away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from tenants.sign_in import sessions

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Page = admin.ModelAdmin[Any]
else:
    _Page = object


def demand(request: HttpRequest) -> None:
    """Raise, so that they are asked and what they sent goes on from there, unless they just proved it."""
    if not sessions.is_proven(request):
        raise ReauthenticationRequired


class ProvenPage(_Page):
    """A console page that asks for a confirmation before what `proof_for` names.

    That is `add`, `change` and `delete`, and the names of actions of its list.
    """

    proof_for: ClassVar[frozenset[str]] = frozenset()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        self._demand(request, "add" if object_id is None else "change")
        return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self._demand(request, "delete")
        return super().delete_view(request, object_id, extra_context)

    def response_action(  # type: ignore[override]  # the stubs are of a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        for name in request.POST.getlist("action"):
            self._demand(request, name)
        response: HttpResponse | None = super().response_action(request, queryset)
        return response

    def _demand(self, request: HttpRequest, what: str) -> None:
        if request.method == "POST" and what in self.proof_for:
            demand(request)
