"""Check what a browser sends to a console page before Django puts it into a query.

In many places Django looks up ids, foreign keys and filter values as they come in. A value that the
column cannot hold (not a number, not a UUID, too large, with a NUL) then ends in an exception of the
database or of Python, which is a server error. Here the person is told instead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import BaseModelAdmin, IncorrectLookupParameters
from django.contrib.admin.views.main import (
    PAGE_VAR,
    SEARCH_VAR,
    ChangeList,
    ChangeListSearchForm,
)
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ForeignKey, ForeignObjectRel, ManyToManyField, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from tenants.console.scope import CARRIED, PARAMETERS, carried

logger = logging.getLogger("tollgate.console")

if TYPE_CHECKING:  # Django 5.2 cannot subscript these when it runs
    _Fields = BaseModelAdmin[Any]
    _Page = admin.ModelAdmin[Any]
    _ChoiceField = forms.ModelChoiceField[Any]
    _MultipleChoiceField = forms.ModelMultipleChoiceField[Any]
else:
    _Fields = _Page = object
    _ChoiceField = forms.ModelChoiceField
    _MultipleChoiceField = forms.ModelMultipleChoiceField

LOOKUPS = frozenset({"exact", "isnull", "isempty", "id__exact", "gte", "lt"})
# In which Django keeps the filters of the list that one came from.
LIST_FILTERS = "_changelist_filters"
MAX_SEARCH = 200
CONFLICT = (
    "Nothing was saved: it conflicts with a change that was saved meanwhile, by somebody else or from "
    "another tab. This is the present state."
)


def could_hold(field: Any, value: Any) -> bool:
    """Tell whether this field's column could hold a value that somebody sent."""
    while field.is_relation:
        field = field.target_field
    try:
        field.run_validators(field.to_python(value))
    except (ValidationError, ValueError, OverflowError):
        return False
    return "\0" not in str(value)


class UnusableQuery(Exception):
    """Parts of a list's address that the list cannot use."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = frozenset(names)


class CheckedChoiceField(_ChoiceField):
    """Django's field, hardened: it passes any text on to the database when it draws a form again."""

    def prepare_value(self, value: Any) -> Any:
        prepared = super().prepare_value(value)
        return prepared if could_hold(self._key, prepared) else None

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or could_hold(self._key, value):
            return super().to_python(value)
        raise ValidationError(
            self.error_messages["invalid_choice"], "invalid_choice", {"value": value}
        )

    @property
    def _key(self) -> Any:
        return _key_of(self.queryset, self.to_field_name)


class CheckedMultipleChoiceField(_MultipleChoiceField):
    """Django's field, hardened: it lets numbers through that are too large for the database."""

    def clean(self, value: Any) -> Any:
        for each in value or ():
            if not could_hold(_key_of(self.queryset), each):
                raise ValidationError(
                    self.error_messages["invalid_pk_value"], "invalid_pk_value", {"pk": each}
                )
        return super().clean(value)


def _key_of(rows: QuerySet[Any] | None, name: str | None = None) -> Any:
    """Return the field by which a form names one of these rows."""
    assert rows is not None  # only while the form's class is being made
    return rows.model._meta.get_field(name) if name else rows.model._meta.pk


class SearchForm(ChangeListSearchForm):
    """Takes what is searched for as far as databases do: SQLite refuses patterns of more than 50,000 bytes,
    and a long one is compared with every row.
    """

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.fields = {
            SEARCH_VAR: forms.CharField(required=False, strip=False, max_length=MAX_SEARCH)
        }


class CheckedList(ChangeList):
    """A list that says which parts of its address it cannot use."""

    search_form_class = SearchForm
    is_dataset = False  # the theme's templates ask

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the list is filtered by: not what every page's address may have (Scope), unless a
        filter of this list has that name.
        """
        asked: dict[str, Any] = super().get_filters_params(params)
        return {n: v for n, v in asked.items() if n not in PARAMETERS or self._is_own(n)}

    def _is_own(self, name: str) -> bool:
        return any(name == getattr(item, "parameter_name", None) for item in self.list_filter)

    @property
    def unfiltered_query(self) -> str:
        """Return the query of this list without filters and search."""
        return self.get_query_string(remove=[*self.get_filters_params(), SEARCH_VAR])

    def get_filters(self, request: HttpRequest) -> Any:
        asked = self.get_filters_params()
        unusable = [
            name
            for name, values in asked.items()
            if not all(self._can_filter(name, value, request) for value in values)
        ]
        if unusable:
            raise UnusableQuery(unusable)
        try:
            return super().get_filters(request)
        except IncorrectLookupParameters as error:
            raise UnusableQuery(list(asked)) from error

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except IncorrectLookupParameters as error:
            raise UnusableQuery([PAGE_VAR]) from error

    def _can_filter(self, name: str, value: str, request: HttpRequest) -> bool:
        if "\0" in value or not self.model_admin.lookup_allowed(name, value, request):
            return False
        field = self._field_of(name)
        return field is None or name.endswith(("__isnull", "__isempty")) or could_hold(field, value)

    def _field_of(self, name: str) -> Any:
        """Return the field that a filter such as `tenant__id__exact` compares, if it is one of Django's."""
        model: Any = self.model
        field: Any = None
        for part in name.split("__"):
            try:
                field = model._meta.get_field(part)
            except FieldDoesNotExist:
                return field
            model = field.related_model
            if model is None:
                return field
        return field


class CheckedFields(_Fields):
    """Pages and inlines whose fields for related rows reject anything that cannot be an id."""

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelChoiceField[Any] | None:
        options.setdefault("form_class", CheckedChoiceField)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelMultipleChoiceField[Any] | None:
        options.setdefault("form_class", CheckedMultipleChoiceField)
        return super().formfield_for_manytomany(db_field, request, **options)


class CheckedPage(CheckedFields, _Page):
    """A page that answers impossible values with a sentence."""

    def _get_obj_does_not_exist_redirect(self, *args: Any) -> NoReturn:
        """Answer for a stranger's row as for a mistyped one, instead of Django's redirect to the index."""
        raise Http404

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only what the page's own filters ask: any other condition is a way to guess at hidden
        columns.
        """
        filters = self.list_filter if request is None else self.get_list_filter(request)
        return any(_asks(item, lookup) for item in filters)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return CheckedList

    def get_preserved_filters(self, request: HttpRequest) -> str:
        """Let the links and redirects of a page keep whose rows were looked at, besides the list's
        filters.
        """
        kept = dict(parse_qsl(super().get_preserved_filters(request)))
        scope = dict(parse_qsl(carried(request).removeprefix("?")))
        if LIST_FILTERS in kept:
            of_list = parse_qsl(kept[LIST_FILTERS])
            others = [(name, value) for name, value in of_list if name not in CARRIED]
            kept[LIST_FILTERS] = urlencode([*scope.items(), *others])
        elif scope:
            kept[LIST_FILTERS] = urlencode(scope)
        return urlencode({**kept, **scope})

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        try:
            return super().changelist_view(request, {"title": title, **(extra_context or {})})
        except UnusableQuery as unusable:
            return self._shown_without(request, unusable.names)
        except IntegrityError:  # of a list edited in place, or of an action
            return self._told_of_conflict(request)

    def response_action(  # type: ignore[override]  # the stubs are of a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if all(could_hold(self.opts.pk, key) for key in chosen):
            return self._act(request, queryset)
        self.message_user(
            request,
            _("Nothing was done: the selection is not a valid %(verbose_name)s.")
            % {"verbose_name": self.opts.verbose_name},
            messages.ERROR,
        )
        return None

    def _act(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        # Django logs deletions before it makes them; other actions see to their own transactions.
        deletes = "delete_selected" in request.POST.getlist("action")
        try:
            with transaction.atomic() if deletes else nullcontext():
                response: HttpResponse | None = super().response_action(request, queryset)
        except ValidationError as error:
            return self._told(request, error)
        return response

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        field = self.opts.pk if from_field is None else self.opts.get_field(from_field)
        if not could_hold(field, object_id):
            return None
        return super().get_object(request, object_id, from_field)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Fill the form from the address, as far as the fields can take it."""
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if self._can_fill(name, value)}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:
            return self._told_of_conflict(request)
        except ValidationError as error:  # a rule that only saving could check
            return self._told(request, error)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except ValidationError as error:
            return self._told(request, error)

    def _told(self, request: HttpRequest, error: ValidationError) -> HttpResponse:
        """Show the page again with what the rule says; all the form did is undone by now."""
        self.message_user(
            request,
            _("Nothing was changed: %(names)s") % {"names": " ".join(error.messages)},
            messages.ERROR,
        )
        return HttpResponseRedirect(request.get_full_path())

    def _told_of_conflict(self, request: HttpRequest) -> HttpResponse:
        # A form that was valid a moment ago: a second click, or somebody else's. Undone by now.
        logger.warning("a form contradicts the database", exc_info=True)
        self.message_user(request, CONFLICT, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())

    def _shown_without(self, request: HttpRequest, names: frozenset[str]) -> HttpResponse:
        given = [(name, value) for name, values in request.GET.lists() for value in values]
        refused = [f"{name}={value}"[:100] for name, value in given if name in names]
        self.message_user(
            request,
            _("The list cannot be filtered by %(names)s, so that filter was removed.")
            % {"names": ", ".join(refused)},
            messages.WARNING,
        )
        rest = urlencode([(name, value) for name, value in given if name not in names])
        return HttpResponseRedirect(f"{request.path}?{rest}" if rest else request.path)

    def _can_fill(self, name: str, value: Any) -> bool:
        try:
            field = self.opts.get_field(name)
        except FieldDoesNotExist:
            return True
        if isinstance(field, ForeignObjectRel):  # the other end of a relation is in no form
            return False
        values = value if isinstance(value, list) else [value]
        return all(could_hold(field, each) for each in values)


def _asks(item: Any, lookup: str) -> bool:
    """Tell whether a filter of a list puts this condition into an address."""
    if isinstance(item, type):
        return lookup == getattr(item, "parameter_name", None)
    path = item[0] if isinstance(item, tuple | list) else item
    return lookup.startswith(f"{path}__") and lookup.removeprefix(f"{path}__") in LOOKUPS
