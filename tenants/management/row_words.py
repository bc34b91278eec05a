"""Tell of rows in the words of a command's answer: as JSON, line by line, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.db.models import Model

from gateway_project.lib import command_text
from gateway_project.lib.secret import Secret
from tenants.access import ownership
from tenants.access.access import OPERATOR
from tenants.api.shown import ShownRows, note_secret
from tenants.managed import naming
from tenants.models import Tenant

Json = dict[str, Any]


def told_of_row(view: ShownRows, row: Model, once: Json | None = None) -> Json:
    """Return a row as the API shows it, with the names of what it points at."""
    shown = {**view.represented(row, OPERATOR), **(once or {})}
    told: Json = plain({**shown, "names": naming.names_of_links([row], shown)[0]})
    return told


def called(rows: type[ShownRows]) -> str:
    """Return what one of the rows is called, with its article."""
    word = str(rows.resource.model._meta.verbose_name)
    return f"{'an' if word[0] in 'aeioA' else 'a'} {word}"


def owner_of(row: Model) -> Tenant | None:
    """Return the tenant whose row it is; None for the platform's, and for a tenant itself."""
    has_owner = not isinstance(row, Tenant) and ownership.paths(type(row))
    owner = ownership.owner_id(row) if has_owner else None
    return None if owner is None else Tenant.objects.get(pk=owner)


def in_one_line(row: Model) -> str:
    """Return what a row is and whose, as the end of a sentence."""
    what = str(row._meta.verbose_name)
    name = naming.name_of(row) or str(row)
    owner = owner_of(row)
    return f"the {what} {name!r}{'' if owner is None else f' of tenant {owner.slug!r}'}"


def plain(value: Any) -> Any:
    """Return what JSON can hold, as the API would send it."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS))


def in_words(told: Mapping[str, Any], *, in_full: bool = False) -> dict[str, str]:
    """Return the fields of a row as people read them: names in place of ids, or (in full) beside them."""
    names = told.get("names", {})
    found = {}
    for name, value in told.items():
        if name == "names":
            continue
        text = command_text.cell(name, value)
        if (known := names.get(name)) is not None:
            beside = in_full or name in {"api_key", "key", "key_public_id"}
            text = f"{known} ({text})" if beside else known
        found[name] = text
    return found


def in_lines(told: Mapping[str, Any]) -> str:
    """Return a row line by line, with names beside ids and lists of objects as tables."""
    words = in_words(told, in_full=True)
    return told_in_lines(
        {name: told[name] if _is_deep(told[name]) else word for name, word in words.items()}
    )


def flat(row: Mapping[str, Any]) -> Json:
    """Return the fields of a row, with those of objects within it beside them."""
    found: Json = {}
    for name, value in row.items():
        found |= value if isinstance(value, dict) and name != "names" and value else {name: value}
    return found


def told_in_lines(told: Mapping[str, Any]) -> str:
    """Return fields line by line; objects and lists of them below their names."""
    lines = []
    for name, value in told.items():
        if not _is_deep(value):
            lines.append(command_text.fields({name: command_text.cell(name, value)}))
        else:
            data = {"data": value} if isinstance(value, list) else value
            lines.append(f"{name}:\n{indented(data)}")
    return "\n".join(lines)


def indented(part: Any) -> str:
    """Return a part of a row, or a page of rows, below its name."""
    if isinstance(part, dict) and isinstance(part.get("data"), list):
        rows = [in_words(flat(row)) for row in part["data"]]
        text = command_text.table(tuple(rows[0]), rows) if rows else "none"
    else:
        text = told_in_lines(in_words(part) if "names" in part else part)
    return "\n".join(f"  {line}" for line in text.splitlines())


def _is_deep(value: Any) -> bool:
    """Tell whether a value is an object with fields, or a list of such."""
    is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return bool(value) and (is_list or isinstance(value, dict))


def shown_once(row: Model, secret: Secret) -> tuple[Json, str]:
    """Return what is shown this once of a row: fields, and words."""
    note_secret(row)
    text = secret.reveal()
    return {"secret": text}, f"Its secret, shown only once:\n  {text}"
