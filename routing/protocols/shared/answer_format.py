"""Ask Anthropic for structured answers: by its own output format where that can hold, by a tool otherwise.

Anthropic's native format takes a subset of JSON Schema: every object closed, no bounds on numbers, strings
and lists (https://platform.claude.com/docs/en/build-with-claude/structured-outputs). What is outside it is
asked for with a tool that must be called, whose arguments then are the answer.
"""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.route import ResolvedTarget

_BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties",
)  # fmt: skip
_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_ANY_OBJECT: Json = {"type": "object", "additionalProperties": True}


def find_format(canonical: Json) -> Json | None:
    """Find the `text.format` of a request that wants JSON; None for free text."""
    text = canonical.get("text")
    found = text.get("format") if isinstance(text, dict) else None
    if isinstance(found, dict) and found.get("type") in {"json_schema", "json_object"}:
        return found
    return None


def native(form: Json, target: ResolvedTarget) -> Json | None:
    """Make Anthropic's `output_config.format` of it; None if the model or the schema does not allow it."""
    schema = form.get("schema")
    if "structured_output" not in target.capabilities or not isinstance(schema, dict):
        return None
    if _is_open(schema):
        return None
    return {"type": "json_schema", "schema": _close_schema(schema)}


def tool_description(form: Json) -> str:
    """Tell the model about the tool that takes the answer."""
    words = "Give the whole answer by calling this tool: its arguments are the JSON object of the answer."
    described = form.get("description")
    return f"{words}\n{described}" if isinstance(described, str) and described else words


def tool_schema(form: Json) -> Json:
    schema = form.get("schema")
    return schema if isinstance(schema, dict) else _ANY_OBJECT


def _is_open(schema: Any) -> bool:
    """Tell whether a schema has an object with members it does not name, or refers to itself as a whole."""
    if not isinstance(schema, dict):
        return False
    if schema.get("$ref") == "#" or _is_map(schema):
        return True
    return any(_is_open(part) for part in _parts(schema))


def _is_map(schema: Json) -> bool:
    if schema.get("additionalProperties") not in (None, False):
        return True
    is_object = schema.get("type") == "object"
    return is_object and "properties" not in schema and not any(name in schema for name in _LISTED)


def _parts(schema: Json) -> list[Any]:
    parts: list[Any] = [schema.get("items")]
    for name in _LISTED:
        found = schema.get(name)
        parts.extend(found if isinstance(found, list) else ())
    for name in _NAMED:
        found = schema.get(name)
        parts.extend(found.values() if isinstance(found, dict) else ())
    return parts


def _close_schema(schema: Any) -> Any:
    """Bring a schema into Anthropic's subset; a bound it cannot enforce becomes part of the description."""
    if not isinstance(schema, dict):
        return schema
    closed = {_rename_refs(name): _inner(name, value) for name, value in schema.items()}
    bounds = {name: closed.pop(name) for name in _BOUNDS if name in closed}
    if isinstance(closed.get("minItems"), int) and closed["minItems"] > 1:
        bounds["minItems"] = closed.pop("minItems")
    if bounds:
        said = ", ".join(f"{name}: {value}" for name, value in bounds.items())
        closed["description"] = f"{closed.get('description') or ''} ({said})".strip()
    if "properties" in closed or closed.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


def _rename_refs(name: str) -> str:
    return "anyOf" if name == "oneOf" else name


def _inner(name: str, value: Any) -> Any:
    if name in _NAMED and isinstance(value, dict):
        return {key: _close_schema(part) for key, part in value.items()}
    if name in _LISTED and isinstance(value, list):
        return [_close_schema(part) for part in value]
    return _close_schema(value) if name == "items" else value
