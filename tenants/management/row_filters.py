"""Make options of the filters that a list of rows has."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, ForeignKey, Model

from tenants import directory
from tenants.access.access import OPERATOR
from tenants.api.shown import filtered_field
from tenants.managed import naming, typed
from tenants.models import Tenant


def option_of(model: type[Model], name: str, condition: str) -> dict[str, Any]:
    """Return how the parser is told of a filter."""
    if name == "tenant":
        return {"help": "only those of this tenant: its slug or name"}
    field = filtered_field(model, condition)
    if condition.endswith(("__gte", "__lt")):
        which = "from then on" if condition.endswith("__gte") else "before then"
        return {
            "metavar": "INSTANT",
            "help": f"{which}: an instant, a date (UTC), or so long ago: 24h",
        }
    if isinstance(field, BooleanField):
        return {"choices": ("true", "false"), "help": "only those of which this holds"}
    if field.choices:
        return {"choices": [value for value, _ in field.flatchoices if value], "help": "only such"}
    linked = _linked(model, condition)
    what = name.replace("_", " ") if linked is None else str(linked._meta.verbose_name)
    how = "" if linked is None else ", by name or id"
    return {"metavar": name.upper(), "help": f"only those of this {what}{how}"}


def filter_value(model: type[Model], condition: str, text: str, tenant: Tenant | None) -> str:
    """Return what the API is asked for: ids in place of names, instants in place of spans."""
    if condition.endswith(("__gte", "__lt")):
        return str(typed.instant(text, is_past=True).isoformat())
    if condition.rsplit("__", maxsplit=1)[-1] == "tenant":
        return str(directory.tenant(text).pk)
    linked = _linked(model, condition)
    if linked is None:
        return text
    row = naming.find_link(OPERATOR, linked, text, tenant)
    return str(getattr(row, condition.partition("__")[2] or "pk"))


def _linked(model: type[Model], condition: str) -> type[Model] | None:
    """Return the kind of row that a filter names; None if it compares a value of its own."""
    field = model._meta.get_field(condition.split("__", maxsplit=1)[0])
    return field.remote_field.model if isinstance(field, ForeignKey) else None
