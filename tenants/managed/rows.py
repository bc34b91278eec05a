"""Make, change and remove managed rows: rights, links, values and checks in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db import IntegrityError
from django.db.models import Model, ProtectedError, RestrictedError

from gateway_project.lib.db import durable_transaction
from gateway_project.lib.secret import Secret
from tenants.access import ownership
from tenants.access.access import Access
from tenants.access.rights import Right
from tenants.console.cascade import reaches_beyond
from tenants.deletion.asking import refuse_new_rows
from tenants.managed.resource import Resource, Values, resource_of
from tenants.managed.values import assign

M = TypeVar("M", bound=Model)

STRAY = "Choose one that belongs to the platform or to the same tenant."
LEFT_BEHIND = "It is used by something that is not yours, so it cannot be deleted."
CONFLICT = "Nothing was saved: it conflicts with a row that exists or with a change made meanwhile."


@dataclass(frozen=True, slots=True)
class Created(Generic[M]):
    """A new row, and its secret if it was given one that nobody can read again."""

    row: M
    secret: Secret | None


def create(who: Access, model: type[M], values: Values) -> Created[M]:
    """Make a row of these values. Raise PermissionDenied, or ValidationError that names the fields.

    Rows that are linked to are given as objects or by their primary keys. Whoever acts for a single tenant
    need not name it.
    """
    resource = resource_of(model)
    if not resource.may(who, "add", None):
        raise PermissionDenied
    row = model()
    try:
        with durable_transaction():
            given = _of_home(resource, who, model, values)
            assign(resource, who, row, given, is_new=True)
            _require_owner(row)
            _refuse_unless(resource, "add", who, row)
            _refuse_if_deleted(row)
            first = _check(resource, who, row, given, is_new=True)
            second = resource.insert(who, row, _extra(resource, given))
            third = resource.finish(row, _extra(resource, given), is_new=True)
    except IntegrityError as error:
        raise ValidationError(CONFLICT, code="conflict") from error
    return Created(row, first or second or third)


def change(who: Access, row: M, values: Values, *, unless: Callable[[M], None] | None = None) -> M:
    """Change a row and return it as it is then. Raise PermissionDenied, or ValidationError as `create`.

    `unless` is called with the row as it stands once nobody else can change it, and may raise. Values that
    are as they were are not written; where none differs, nothing is.
    """
    resource = resource_of(type(row))
    try:
        with durable_transaction():
            held = _locked(row)
            if unless is not None:
                unless(held)
            _refuse_unless(resource, "change", who, held)
            before = _columns(held)
            assign(resource, who, held, values, is_new=False)
            _refuse_unless(resource, "change", who, held)
            extra = _extra(resource, values)
            _check(resource, who, held, values, is_new=False)
            if changed := [name for name, value in _columns(held).items() if value != before[name]]:
                resource.update(who, held, changed)
            resource.finish(held, extra, is_new=False)
    except IntegrityError as error:
        raise ValidationError(CONFLICT, code="conflict") from error
    return held


def remove(who: Access, row: M, *, unless: Callable[[M], None] | None = None) -> None:
    """Delete a row with what is its own. Raise PermissionDenied, or ValidationError if something keeps it."""
    resource = resource_of(type(row))
    try:
        with durable_transaction():
            held = _locked(row)
            if unless is not None:
                unless(held)
            _refuse_unless(resource, "delete", who, held)
            resource.check_removal(held)
            is_light = who.is_operator or resource.has_own_dependants
            if not is_light and reaches_beyond([held], who):
                raise ValidationError(LEFT_BEHIND, code="conflict")
            resource.remove(who, held)
    except (ProtectedError, RestrictedError) as error:
        raise ValidationError(_in_use(error), code="conflict") from error
    except IntegrityError as error:
        raise ValidationError(CONFLICT, code="conflict") from error


def _of_home(resource: Resource, who: Access, model: type[Model], values: Values) -> Values:
    """Add the tenant, if a row of this kind names one and they can only mean theirs."""
    owner = next(iter(ownership.paths(model)), ())
    if len(owner) != 1 or owner[0].name in values or (resource.area, "add") in who.platform:
        return values
    tenants = who.tenants_where("add", resource.area)
    if not tenants:
        raise PermissionDenied
    if len(tenants) > 1:
        raise ValidationError({owner[0].name: "Name the tenant the row is for."})
    return {**values, owner[0].name: next(iter(tenants))}


def _require_owner(row: Model) -> None:
    """Raise ValidationError if the row names nothing that could say whose it is, and has to."""
    for field in next(iter(ownership.paths(type(row))), ())[:1]:
        if not field.null and getattr(row, field.attname) is None:
            raise ValidationError({field.name: "This is needed."})


def _refuse_if_deleted(row: Model) -> None:
    if ownership.paths(type(row)):
        refuse_new_rows(ownership.owner_id(row))


def _locked(row: M) -> M:
    """Return the row as it stands, held until the transaction ends. Raise ObjectDoesNotExist."""
    model = type(row)
    found = model._base_manager.select_for_update(of=("self",)).filter(pk=row.pk).first()
    if found is None:
        raise ObjectDoesNotExist
    return found


def _refuse_unless(resource: Resource, right: Right, who: Access, row: Model) -> None:
    if not resource.may(who, right, row):
        raise PermissionDenied


def _check(
    resource: Resource, who: Access, row: Model, values: Values, *, is_new: bool
) -> Secret | None:
    # Before validation, which tells about the rows it compares with.
    stray = ownership.stray_link(row) if ownership.paths(type(row)) else None
    if stray is not None:
        raise ValidationError({stray: STRAY})
    secret = resource.prepare(who, row, _extra(resource, values), is_new=is_new)
    resource.validate(row)
    return secret


def _extra(resource: Resource, values: Values) -> Values:
    return {name: values[name] for name in resource.extra if name in values}


def _columns(row: Model) -> dict[str, Any]:
    return {field.name: getattr(row, field.attname) for field in row._meta.concrete_fields}


def _in_use(error: ProtectedError | RestrictedError) -> str:
    rows = (
        error.protected_objects if isinstance(error, ProtectedError) else error.restricted_objects
    )
    kinds = sorted({str(each._meta.verbose_name_plural) for each in rows})
    return f"It cannot be deleted while there are {', '.join(kinds)} of it."
