"""Serve the rows of a managed resource: lists, single rows, and what is done to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import orjson
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import IntegerField, Model
from django.db.models.fields import PositiveIntegerRelDbTypeMixin
from django.urls import URLPattern, path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSetMixin

from gateway_project.lib import errors
from gateway_project.lib.secret import Secret
from tenants import managed
from tenants.access.rights import Right
from tenants.api.base import ManagementView, access_of, body_of, holder_of
from tenants.api.shown import DEFAULT_LIMIT, MAX_LIMIT, ShownRows, note_secret
from tenants.managed.once import MadeBefore, create_once

MAX_KEY_LENGTH = 255


class PlainSerializer(serializers.ModelSerializer[Any]):
    """Columns of a model, as the model declares them."""

    _made: ClassVar[dict[type[Any], dict[str, Any]]] = {}

    def get_fields(self) -> dict[str, Any]:
        """Return copies of the fields, which are derived from the model once a class."""
        kind = type(self)
        if kind not in self._made:
            self._made[kind] = super().get_fields()
        return deepcopy(self._made[kind])

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


class Rows(ShownRows, ViewSetMixin, ManagementView):
    """The routes of one resource."""

    shown_once: ClassVar[tuple[str, ...]] = ("secret",)  # what an answer with it has beside the row
    restless: ClassVar[tuple[str, ...]] = ()  # what changes by itself, and so makes no new ETag
    without: ClassVar[frozenset[Right]] = frozenset()  # rights that have no route
    # What else is done to a row: path → HTTP method, or by method what does it.
    further: ClassVar[Mapping[str, str | Mapping[str, str]]] = {}

    def list(self, request: Request) -> Response:
        self.refuse_unless("view", request)
        asked = {name: str(text) for name, text in request.query_params.dict().items()}
        cursor, limit = asked.pop("cursor", ""), _limit(asked.pop("limit", None))
        who = access_of(request)
        found = self.listed(who, asked, cursor=cursor, limit=limit)
        return Response(
            {
                "data": self.in_list(found.rows, who),
                "next_cursor": found.next_cursor or None,
            }
        )

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

    def retrieve(self, request: Request, key: str) -> Response:
        self.refuse_unless("view", request)
        return self.answer(self.opened(access_of(request), key), request)

    def partial_update(self, request: Request, key: str) -> Response:
        row, unless = self.row(request, key), self.precondition(request)
        self.alter(access_of(request), row, self.values(request), unless)
        return self.answer(self.row(request, key), request)

    def destroy(self, request: Request, key: str) -> Response:
        row = self.row(request, key)
        managed.remove(access_of(request), row, unless=self.precondition(request))
        return Response(status=204)

    def made(self, key: Any) -> Any:
        """Return a row that this token has made, whether or not it may see others."""
        found = self._rows().filter(**{self.resource.key: key}).first()
        if found is None:
            raise errors.Conflict("What this 'Idempotency-Key' made is there no more.")
        return found

    def row(self, request: Request, key: str) -> Any:
        """Return one row. Raise Http404 for one that the token may not see, as for one there is not."""
        return self.one(access_of(request), key)

    def values(self, request: Request) -> dict[str, Any]:
        """Return what is to be written."""
        return self.completed(body_of(request))

    def refuse_unless(self, right: Right, request: Request, row: Model | None = None) -> None:
        if not self.resource.may(access_of(request), right, row):
            raise PermissionDenied

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
        shown = self.represented(row, access_of(request))
        told = {"etag": self.etag(shown), **headers}
        if secret is not None:
            note_secret(row)
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
            if (
                self.etag(self.represented(self.row(request, key), access_of(request)))
                not in wanted
            ):
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


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        told = f"Write a whole number between 1 and {MAX_LIMIT}."
        raise errors.InvalidFields({"limit": [told]})
    return int(text)


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
