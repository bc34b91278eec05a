"""Serve the rows of a managed resource: lists, single rows, and what is done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import orjson
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import transaction
from django.db.models import BooleanField, DateTimeField, IntegerField, Model, QuerySet
from django.db.models.fields import PositiveIntegerRelDbTypeMixin
from django.http import Http404
from django.urls import URLPattern, path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSetMixin

from gateway_project.lib import errors
from gateway_project.lib.secret import Secret
from tenants import managed
from tenants.access.access import Access
from tenants.access.rights import Right
from tenants.api.base import ManagementView, access_of, body_of, holder_of
from tenants.audit import events
from tenants.managed.once import MadeBefore, create_once
from tenants.managed.paging import page
from tenants.managed.resource import Resource
from tenants.managed.values import could_be_key, instant

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_KEY_LENGTH = 255


class PlainSerializer(serializers.ModelSerializer[Any]):
    """Columns of a model, as the model declares them."""

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        """Leave checks to the models and `tenants.managed`: those here would compare with rows of others."""
        kind, options = super().build_standard_field(field_name, model_field)
        options.pop("validators", None)
        if isinstance(model_field, IntegerField):
            # Databases hold different ranges; the schema says what the model does.
            for name in ("min_value", "max_value"):
                options.pop(name, None)
            options |= _declared_range(model_field)
        return kind, options

    def get_validators(self) -> list[Any]:
        return []


class RowSerializer(PlainSerializer):
    """A row as the token may see it: what is hidden from it is null."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        hidden = self.context["resource"].hidden(self.context["access"], instance)
        for name in hidden & shown.keys():
            shown[name] = None
        return shown


class SecretField(serializers.CharField):
    """Text that goes in and comes out as its last four characters."""

    def to_representation(self, value: Any) -> str:
        return f"••••{value}"


def _declared_range(field: IntegerField[Any, Any]) -> dict[str, Any]:
    """Return the bounds that a field's declaration names."""
    names = {MinValueValidator: "min_value", MaxValueValidator: "max_value"}
    found = {"min_value": 0} if isinstance(field, PositiveIntegerRelDbTypeMixin) else {}
    declared: Any = field
    for validator in declared._validators:
        if (name := names.get(type(validator))) is not None:
            found[name] = validator.limit_value
    return found


class Rows(ViewSetMixin, ManagementView):
    """The routes of one resource. Subclasses say what is shown and asked for."""

    resource: ClassVar[Resource]
    serializer_class: ClassVar[type[serializers.ModelSerializer[Any]]]
    about: ClassVar[str]  # the plural, for people
    order: ClassVar[tuple[str, ...]] = ("-pk",)
    filters: ClassVar[Mapping[str, str]] = {}  # parameter of the query → condition
    joined: ClassVar[tuple[str, ...]] = ()  # rows that are shown with each
    prefetched: ClassVar[tuple[Any, ...]] = ()
    left_out: ClassVar[tuple[str, ...]] = ()  # columns that lists neither read nor show
    shows_secret: ClassVar[bool] = False  # whether a new one has a secret, which is shown once
    shown_once: ClassVar[tuple[str, ...]] = ("secret",)  # what an answer with it has beside the row
    restless: ClassVar[tuple[str, ...]] = ()  # what changes by itself, and so makes no new ETag
    without: ClassVar[frozenset[Right]] = frozenset()  # rights that have no route
    # What else is done to a row: path → HTTP method, or by method what does it.
    further: ClassVar[Mapping[str, str | Mapping[str, str]]] = {}

    def list(self, request: Request) -> Response:
        self.refuse_unless("view", request)
        asked = request.query_params
        if unknown := sorted(set(asked) - {"cursor", "limit", *self.filters}):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        conditions = {
            self.filters[name]: _condition(self.resource.model, name, self.filters[name], str(text))
            for name, text in asked.dict().items()
            if name in self.filters
        }
        rows = self.narrowed(self.seen(request).defer(*self.left_out), conditions)
        try:
            found = page(rows, self.order, asked.get("cursor", ""), _limit(asked.get("limit")))
        except ValidationError as error:
            raise errors.InvalidFields({"cursor": error.messages}) from error
        return Response(
            {
                "data": [self.shown(row, request, in_list=True) for row in found.rows],
                "next_cursor": found.next_cursor or None,
            }
        )

    def narrowed(self, rows: QuerySet[Any], conditions: Mapping[str, Any]) -> QuerySet[Any]:
        """Return those of the rows that meet the conditions of the filters."""
        return rows.filter(**conditions)

    def create(self, request: Request) -> Response:
        self.refuse_unless("add", request)
        values, who = self.values(request), access_of(request)

        made = self._once(request, lambda: self.make(who, values))
        if isinstance(made, MadeBefore):
            row, secret, headers = self.made(made.key), None, {"idempotent-replayed": "true"}
        else:
            key = getattr(made.row, self.resource.key)
            row, secret, headers = self.made(key), made.secret, {}
        return self.answer(row, request, status=201, headers=headers, secret=secret, is_new=True)

    def make(self, who: Access, values: dict[str, Any]) -> managed.Created[Any]:
        """Make a row of these values."""
        return managed.create(who, self.resource.model, values)

    def retrieve(self, request: Request, key: str) -> Response:
        self.refuse_unless("view", request)
        return self.answer(self.row(request, key), request)

    def partial_update(self, request: Request, key: str) -> Response:
        row = self.row(request, key)
        managed.change(
            access_of(request), row, self.values(request), unless=self.precondition(request)
        )
        return self.answer(self.row(request, key), request)

    def destroy(self, request: Request, key: str) -> Response:
        row = self.row(request, key)
        managed.remove(access_of(request), row, unless=self.precondition(request))
        return Response(status=204)

    def seen(self, request: Request) -> QuerySet[Any]:
        """Return the rows that the token may see, with what is shown with them."""
        return self.resource.visible(access_of(request), self._rows())

    def made(self, key: Any) -> Any:
        """Return a row that this token has made, whether or not it may see others."""
        found = self._rows().filter(**{self.resource.key: key}).first()
        if found is None:
            raise errors.Conflict("What this 'Idempotency-Key' made is there no more.")
        return found

    def _rows(self) -> QuerySet[Any]:
        rows = self.resource.model._default_manager.all()
        rows = rows.select_related(*self.joined) if self.joined else rows
        return rows.prefetch_related(*self.prefetched)

    def row(self, request: Request, key: str) -> Any:
        """Return one row. Raise Http404 for one that the token may not see, as for one there is not."""
        name = self.resource.key
        if not could_be_key(self.resource.model, name, key):
            raise Http404
        found = self.seen(request).filter(**{name: key}).first()
        if found is None:
            raise Http404
        return found

    def values(self, request: Request) -> dict[str, Any]:
        """Return what is to be written."""
        return body_of(request)

    def refuse_unless(self, right: Right, request: Request, row: Model | None = None) -> None:
        if not self.resource.may(access_of(request), right, row):
            raise PermissionDenied

    def shown(self, row: Any, request: Request, *, in_list: bool = False) -> dict[str, Any]:
        context = {"resource": self.resource, "access": access_of(request)}
        serializer = self.serializer_class(row, context=context)
        if in_list:
            for name in self.left_out:
                serializer.fields.pop(name, None)
        return dict(serializer.data)

    def answer(
        self,
        row: Any,
        request: Request,
        *,
        status: int = 200,
        headers: Mapping[str, str] = {},  # only read
        secret: Secret | None = None,
        is_new: bool = False,
    ) -> Response:
        """Answer with a row and its ETag; with its secret where it was made or has a new one."""
        shown = self.shown(row, request)
        told = {"etag": self.etag(shown), **headers}
        if secret is not None:
            _note_secret(row)
        if secret is not None or (is_new and self.shows_secret):
            once = {} if secret is None else self.revealed(row, secret, request)
            shown |= {name: once.get(name) for name in self.shown_once}
            told["cache-control"] = "no-store"
        return Response(shown, status=status, headers=told)

    def revealed(self, row: Any, secret: Secret, request: Request) -> dict[str, Any]:
        """Return what is shown this once of a new row."""
        return {"secret": secret.reveal()}

    def etag(self, shown: Mapping[str, Any]) -> str:
        """Return a tag of what the token sees; what it does not see cannot be guessed from it."""
        kept = {name: value for name, value in shown.items() if name not in self.restless}
        text = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
        return f'"{hashlib.sha256(text).hexdigest()[:32]}"'

    def precondition(self, request: Request) -> Callable[[Any], None]:
        """Return the check that a row is as the client last saw it, if it says so by `If-Match`."""
        given = request.headers.get("if-match", "")
        wanted = {each.strip() for each in given.split(",")}

        def check(row: Any) -> None:
            if not given or "*" in wanted:
                return
            key = str(getattr(row, self.resource.key))
            if self.etag(self.shown(self.row(request, key), request)) not in wanted:
                raise errors.PreconditionFailed

        return check

    def _once(
        self, request: Request, make: Callable[[], managed.Created[Model]]
    ) -> managed.Created[Model] | MadeBefore:
        key = request.headers.get("idempotency-key")
        if key is None:
            return make()
        if not 0 < len(key) <= MAX_KEY_LENGTH:
            told = f"Write 1 to {MAX_KEY_LENGTH} characters."
            raise errors.InvalidFields({"Idempotency-Key": [told]})
        holder = holder_of(request)
        acting = b"" if holder.support_id is None else b" %d" % holder.support_id
        asked = request.path.encode() + acting + b"\n" + request._request.body
        return create_once(holder.token_id, key, asked, make)


def _note_secret(row: Any) -> None:
    """Record that a secret is about to be shown, where its making alone does not say so."""
    action = f"{events.type_of(row)}.secret_shown"
    if action in events.ACTIONS:
        with transaction.atomic():
            events.record(action, tenant_id=row.tenant_id, row=row)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        told = f"Write a whole number between 1 and {MAX_LIMIT}."
        raise errors.InvalidFields({"limit": [told]})
    return int(text)


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
    """Return what a filter compares with. Raise InvalidFields for what the column could not hold."""
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
    raise errors.InvalidFields({name: [f"{text[:100]!r} is not a value of this filter."]})


def _by_method(name: str, how: str | Mapping[str, str]) -> dict[str, Any]:
    return {how: name.replace("-", "_")} if isinstance(how, str) else dict(how)


def routes(prefix: str, view: type[Rows]) -> Sequence[URLPattern]:
    """Return the routes of a resource: its list, its rows, and what else is done to a row."""
    rights = view.resource.rights - view.without
    many: dict[str, Any] = {"get": "list", "post": "create"} if "add" in rights else {"get": "list"}
    one: dict[str, Any] = {
        "get": "retrieve",
        **({"patch": "partial_update"} if "change" in rights else {}),
        **({"delete": "destroy"} if "delete" in rights else {}),
    }
    return [
        path(prefix, view.as_view(many), name=prefix),
        path(f"{prefix}/<str:key>", view.as_view(one), name=f"{prefix}-one"),
        *(
            path(
                f"{prefix}/<str:key>/{name}",
                view.as_view(_by_method(name, method)),
                name=f"{prefix}-{name}",
            )
            for name, method in view.further.items()
        ),
    ]
