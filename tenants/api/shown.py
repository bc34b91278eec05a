"""Say which rows of a resource there are and how they are shown, whoever asks: a request or a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import BooleanField, DateTimeField, Model, QuerySet
from django.http import Http404
from rest_framework import serializers

from tenants import managed
from tenants.access.access import Access
from tenants.audit import events
from tenants.managed.paging import Page, page
from tenants.managed.resource import Resource
from tenants.managed.values import could_be_key, instant

DEFAULT_LIMIT, MAX_LIMIT = 50, 200


class ShownRows:
    """The rows of one resource. Subclasses say what is shown and asked for."""

    resource: ClassVar[Resource]
    serializer_class: ClassVar[type[serializers.ModelSerializer[Any]]]
    about: ClassVar[str]  # the plural, for people
    order: ClassVar[tuple[str, ...]] = ("-pk",)
    filters: ClassVar[Mapping[str, str]] = {}  # parameter of the query → condition
    joined: ClassVar[tuple[str, ...]] = ()  # rows that are shown with each
    prefetched: ClassVar[tuple[Any, ...]] = ()
    left_out: ClassVar[tuple[str, ...]] = ()  # columns that lists neither read nor show
    shows_secret: ClassVar[bool] = False  # whether a new one has a secret, which is shown once

    def seen(self, who: Access) -> QuerySet[Any]:
        """Return the rows that they may see, with what is shown with them."""
        return self.resource.visible(who, self._rows())

    def _rows(self) -> QuerySet[Any]:
        rows = self.resource.model._default_manager.all()
        rows = rows.select_related(*self.joined) if self.joined else rows
        return rows.prefetch_related(*self.prefetched)

    def listed(
        self, who: Access, asked: Mapping[str, str], *, cursor: str, limit: int
    ) -> Page[Any]:
        """Return a page of the rows that meet the filters. Raise ValidationError that names a parameter."""
        if unknown := sorted(asked.keys() - self.filters.keys()):
            raise ValidationError(dict.fromkeys(unknown, "There is no such parameter."))
        conditions = {
            self.filters[name]: _condition(self.resource.model, name, self.filters[name], text)
            for name, text in asked.items()
        }
        rows = self.narrowed(self.seen(who).defer(*self.left_out), conditions)
        try:
            return page(rows, self.order, cursor, limit)
        except ValidationError as error:
            raise ValidationError({"cursor": error.messages}) from error

    def narrowed(self, rows: QuerySet[Any], conditions: Mapping[str, Any]) -> QuerySet[Any]:
        """Return those of the rows that meet the conditions of the filters."""
        return rows.filter(**conditions)

    def one(self, who: Access, key: str) -> Any:
        """Return one row. Raise Http404 for one that they may not see, as for one there is not."""
        name = self.resource.key
        if not could_be_key(self.resource.model, name, key):
            raise Http404
        found = self.seen(who).filter(**{name: key}).first()
        if found is None:
            raise Http404
        return found

    def opened(self, who: Access, key: str) -> Any:
        """Return one row that is about to be shown in whole. Raise Http404."""
        return self.one(who, key)

    def represented(self, row: Any, who: Access) -> dict[str, Any]:
        """Return a row as they may see it."""
        return dict(self._serializer(who).to_representation(row))

    def in_list(self, rows: Iterable[Any], who: Access) -> list[dict[str, Any]]:
        """Return the rows of a list as they may see them, by one serializer: making one takes longest."""
        serializer = self._serializer(who)
        for name in self.left_out:
            serializer.fields.pop(name, None)
        return [dict(serializer.to_representation(row)) for row in rows]

    def _serializer(self, who: Access) -> serializers.ModelSerializer[Any]:
        return self.serializer_class(context={"resource": self.resource, "access": who})

    def completed(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be written, with what follows from it."""
        return values

    def make(self, who: Access, values: dict[str, Any]) -> managed.Created[Any]:
        """Make a row of these values."""
        return managed.create(who, self.resource.model, values)

    def alter(
        self,
        who: Access,
        row: Any,
        values: dict[str, Any],
        unless: Callable[[Any], None] | None = None,
    ) -> None:
        """Change a row, `unless` raises for how it stands."""
        managed.change(who, row, values, unless=unless)


def note_secret(row: Any) -> None:
    """Record that a secret is about to be shown, where its making alone does not say so."""
    action = f"{events.type_of(row)}.secret_shown"
    if action in events.ACTIONS:
        with transaction.atomic():
            events.record(action, tenant_id=row.tenant_id, row=row)


def filtered_field(model: type[Model], condition: str) -> Any:
    """Return the column that a filter compares."""
    field: Any = None
    held: Any = model
    for part in condition.split("__"):
        if part in {"gte", "lt"}:
            break
        field = held._meta.pk if part == "pk" else held._meta.get_field(part)
        held = field.related_model
    while field.is_relation:
        field = field.target_field
    return field


def _condition(model: type[Model], name: str, condition: str, text: str) -> Any:
    """Return what a filter compares with. Raise ValidationError for what the column could not hold."""
    field = filtered_field(model, condition)
    try:
        if isinstance(field, DateTimeField):
            return instant(text.replace(" ", "+"))
        if isinstance(field, BooleanField):
            return {"true": True, "false": False}[text]
        if field.choices and text not in dict(field.flatchoices):
            raise KeyError(text)
        if could_be_key(field.model, field.name, text):
            return text
    except (KeyError, ValidationError):
        pass
    raise ValidationError({name: f"{text[:100]!r} is not a value of this filter."})
