"""Make a row that names identify, or change the one there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model

from gateway_project.lib.db import durable_transaction
from tenants.access.access import Access
from tenants.managed.rows import change, create
from tenants.revision import Revision

Found = TypeVar("Found", bound=Model)


@durable_transaction()
def put(
    who: Access, model: type[Found], names: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[Found, bool]:
    """Return the row with these names, which has these values then, and whether it is new.

    Raise PermissionDenied, or ValidationError that names the fields.
    """
    # One at a time: not every kind of row has names that the database keeps apart.
    Revision.objects.select_for_update().filter(id=1).first()
    rows = list(model._default_manager.filter(**names)[:2])
    if len(rows) > 1:
        what = model._meta.verbose_name_plural
        raise ValidationError(f"Several {what} have these names: change them in the console.")
    if rows:
        return change(who, rows[0], values), False
    return create(who, model, {**names, **values}).row, True
