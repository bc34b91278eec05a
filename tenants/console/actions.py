"""Put what can be done with one row on its page, as buttons: asked about first, then done by a POST.

    @console_action(_("Revoke"), right="change", asks=_("Programs that use this key are refused at once."))
    def revoke(self, request: HttpRequest, row: ApiKey) -> HttpResponse | str | None:
        ...

The row is the one that the person may see and has this right to. A returned text is shown as a message on
the row's page, a response as it is. A form class is shown on the page that asks, and its cleaned data is
passed as `given`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise

from tenants.access.requests import access
from tenants.access.rights import Right
from tenants.console.scope import carried
from tenants.sign_in.proof import demand

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Page = admin.ModelAdmin[Any]
else:
    _Page = object

Text = str | Promise
Does = TypeVar("Does", bound=Callable[..., Any])
_MARK = "console_action"


@dataclass(frozen=True, slots=True)
class RowAction:
    """A button of a row's page.

    label       the words on the button
    right       what the person must have the right to, for this row
    asks        the sentence that says what will happen, on the page that asks, or what makes it for a row
    form        fields asked on that page
    form_for    makes the form for a row, where its fields depend on it
    operators   whether only operators of the platform may do this, whatever rights others have
    is_harmful  whether it cannot be taken back
    is_proven   whether the person confirms that it is them first (a secret is shown, say)
    shown_for   tells whether the row is one that this makes sense for
    """

    label: Text
    right: Right
    asks: Text | Callable[[Any], Text] = ""
    form: type[forms.Form] | None = None
    form_for: Callable[[Any], type[forms.Form]] | None = None
    operators: bool = False
    is_harmful: bool = False
    is_proven: bool = False
    shown_for: Callable[[Any], bool] = lambda row: True

    def question(self, row: Model) -> Text:
        """Return what the page that asks says about a row."""
        return self.asks(row) if callable(self.asks) else self.asks

    def form_of(self, row: Model) -> type[forms.Form] | None:
        """Return the form for a row."""
        return self.form if self.form_for is None else self.form_for(row)


@dataclass(frozen=True, slots=True)
class RowButton:
    """A button as it stands on a row's page."""

    label: Text
    address: str
    is_harmful: bool


def console_action(label: Text, *, right: Right, **options: Any) -> Callable[[Does], Does]:
    """Make a method of a page an action on one row."""

    def marked(does: Does) -> Does:
        setattr(does, _MARK, RowAction(label, right, **options))
        return does

    return marked


@lru_cache(maxsize=256)
def _actions_of(page: type) -> Mapping[str, RowAction]:
    found: dict[str, RowAction] = {}
    for base in reversed(page.__mro__):
        marked = {n: getattr(m, _MARK) for n, m in vars(base).items() if hasattr(m, _MARK)}
        found.update(marked)
    return found


class RowActions(_Page):
    """A page whose `@console_action` methods are buttons of each row."""

    def get_urls(self) -> list[URLPattern]:
        site, name = self.admin_site, f"{self.opts.app_label}_{self.opts.model_name}_do"
        view = site.admin_view(self.row_action_view)
        return [path("<path:object_id>/do/<slug:action>/", view, name=name), *super().get_urls()]

    @classmethod
    def row_actions(cls) -> Mapping[str, RowAction]:
        """Return the actions by the names of their methods, those of base classes first."""
        return _actions_of(cls)

    def row_buttons(self, request: HttpRequest, row: Model) -> Iterator[RowButton]:
        """Yield the buttons for a row that the person may use."""
        for name, action in self.row_actions().items():
            if self._may_act(action, request, row) and action.shown_for(row):
                address = f"{self.row_address(row, name)}{carried(request)}"
                yield RowButton(action.label, address, action.is_harmful)

    def row_address(self, row: Model, action: str) -> str:
        """Return the address of an action on a row."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_do"
        return reverse(name, args=(quote(row.pk), action))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        row = options.get("obj")
        buttons = list(self.row_buttons(request, row)) if row is not None else []
        context = {**context, "row_buttons": buttons}
        response: HttpResponse = super().render_change_form(request, context, *rest, **options)
        return response

    def row_action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponse:
        """Ask about an action on a GET, and do it on a POST."""
        row, asked = self.get_object(request, unquote(object_id)), self.row_actions().get(action)
        if row is None or asked is None:
            raise Http404
        if not self._may_act(asked, request, row):
            raise PermissionDenied
        if not asked.shown_for(row):
            return self._back(request, row)
        is_sent = request.method == "POST"
        form_class = asked.form_of(row)
        form = form_class(request.POST if is_sent else None) if form_class is not None else None
        if not is_sent or (form is not None and not form.is_valid()):
            return self._ask_about(request, row, asked, form)
        if asked.is_proven:
            demand(request)
        return self._do(request, row, action, {} if form is None else {"given": form.cleaned_data})

    def _may_act(self, action: RowAction, request: HttpRequest, row: Model) -> bool:
        is_theirs = access(request).is_operator or not action.operators
        return is_theirs and self.may(action.right, request, row)

    def _do(
        self, request: HttpRequest, row: Model, action: str, given: dict[str, Any]
    ) -> HttpResponse:
        try:
            done = getattr(self, action)(request, row, **given)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return self._back(request, row)
        if isinstance(done, HttpResponse):
            return done
        if done is not None:
            self.message_user(request, str(done), messages.SUCCESS)
        return self._back(request, row)

    def _back(self, request: HttpRequest, row: Model) -> HttpResponse:
        """Lead to the row's page, or to the list where the row is no longer there."""
        base = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        is_there = row.pk is not None and self.get_object(request, str(row.pk)) is not None
        if is_there:
            address = reverse(f"{base}_change", args=(quote(row.pk),))
        else:
            address = reverse(f"{base}_changelist")
        return HttpResponseRedirect(f"{address}{carried(request)}")

    def _ask_about(
        self, request: HttpRequest, row: Model, asked: RowAction, form: forms.Form | None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": asked.label,
            "opts": self.opts,
            "row": row,
            "action": asked,
            "question": asked.question(row),
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "console/ask.html", context)

    if TYPE_CHECKING:

        def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool: ...
