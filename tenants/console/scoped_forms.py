"""Keep console forms from linking a row to another tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.forms.formsets import DELETION_FIELD_NAME
from django.forms.models import BaseInlineFormSet
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy

from tenants.access import ownership
from tenants.access.access import NOBODY, Access
from tenants.console.cascade import reaches_beyond
from tenants.theme import RawId

if TYPE_CHECKING:  # Django 5.2 cannot subscript these when it runs
    _ModelForm = forms.ModelForm[Any]
    _InlineFormSet = BaseInlineFormSet[Any, Any, forms.ModelForm[Any]]
else:
    _ModelForm = forms.ModelForm
    _InlineFormSet = BaseInlineFormSet

STRAY = gettext_lazy("Choose one that belongs to the platform or to the same tenant.")
LEFT_BEHIND = gettext_lazy("A row you want to delete is used by something that is not yours.")


class TenantForm(_ModelForm):
    """A form for a row of a tenant. TenantModelAdmin.get_form fills in the class attributes."""

    home: ClassVar[int | None] = None  # the tenant new rows go to when the form does not ask
    fixed: ClassVar[frozenset[str]] = frozenset()  # what is set once, and shown afterwards
    nested_formsets: ClassVar[tuple[Any, ...]] = ()  # the theme's templates ask

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Before validation, not in save_model: rules between rows compare their tenants.
        if self.home is not None and self.instance._state.adding:
            self.instance.tenant_id = self.home

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name, value in cleaned.items():
            if value is None and isinstance(self.fields[name], forms.JSONField):
                cleaned[name] = self._empty(name)
        return cleaned

    def _empty(self, name: str) -> Any:
        """Return the value of an emptied JSON field, [] or {}: the column has no null."""
        return type(self._meta.model._meta.get_field(name).get_default())()

    def _get_validation_exclusions(self) -> set[str]:
        """Check also fields that the form does not show: Django would miss a name taken in this tenant."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # no stub
        return excluded - self.fixed

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # no stub
        stray = None if self.errors else ownership.stray_link(self.instance)
        if stray is not None:
            self.add_error(stray if stray in self.fields else None, STRAY)


class TenantFormSet(_InlineFormSet):
    """Rows inside their parent's page. TenantInline.get_formset fills in who edits them."""

    access: ClassVar[Access] = NOBODY

    @cached_property
    def empty_form(self) -> Any:  # a property of Django's, which makes one each time
        """Return the form that the browser copies. A page asks for it five times."""
        return super().empty_form

    def clean(self) -> None:
        # First, because Django's own check names all that protects a row.
        deleted = [form.instance for form in self.forms if self._is_deleted(form)]
        if not self.access.is_operator and reaches_beyond(deleted, self.access):
            raise ValidationError(LEFT_BEHIND)
        super().clean()
        changed = [form for form in self.forms if form.has_changed()]
        for form in changed:
            if not self._is_deleted(form) and form.is_valid():
                self._check_links(form)
        if all(form.instance.pk is None for form in changed):
            self._check_constraints(changed)

    def _check_links(self, form: forms.ModelForm[Any]) -> None:
        # A new parent has no id yet: models compare through the object then, which Django sets later.
        setattr(form.instance, self.fk.name, self.instance)
        stray = ownership.stray_link(form.instance)
        if stray is not None:
            form.add_error(stray if stray in form.fields else None, STRAY)

    def _check_constraints(self, added: list[forms.ModelForm[Any]]) -> None:
        """Check constraints that name the parent, such as: each model once behind an alias.

        Django compares the forms with each other, but not with rows that another tab has added meanwhile.
        """
        for form in added:
            try:
                form.instance.validate_constraints()
            except ValidationError as error:
                form.add_error(None, error.messages)

    def _is_deleted(self, form: forms.ModelForm[Any]) -> bool:
        chosen = self.can_delete and form.cleaned_data.get(DELETION_FIELD_NAME, False)
        return bool(chosen) and form.instance.pk is not None


class ScopedRawIdWidget(RawId):  # type: ignore[misc]  # the theme has no types
    """The theme's widget, hardened: it would name any row with the typed id, this one only those that may be
    chosen.
    """

    def __init__(self, rows: QuerySet[Model], *args: Any, **options: Any) -> None:
        self.rows = rows
        super().__init__(*args, **options)

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        key = self.rel.get_related_field().name
        try:
            known = self.rows.filter(**{key: value}).exists()
        except (ValueError, ValidationError):
            return "", ""
        return super().label_and_url_for_value(value) if known else ("", "")
