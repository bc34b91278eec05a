"""Build the smallest value a JSON schema accepts, for structured answers and tool arguments."""

from typing import Any

from gateway_project.lib.json import Json

MAX_DEPTH = 24

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "sandbox@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def smallest(schema: object) -> Any:
    """Return a value for the schema. Patterns and conditional keywords are not honoured."""
    root = schema if isinstance(schema, dict) else {}
    return _value(root, root, 0)


def _value(schema: object, root: Json, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _value(schema[union][0], root, depth + 1)
    if schema.get("allOf"):
        return _value(_merge(schema["allOf"], root), root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: Json, root: Json, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            item = schema.get("items", {"type": "string"})
            return [_value(item, root, depth + 1) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema)


def _object(schema: Json, root: Json, depth: int) -> Json:
    properties = schema.get("properties") or {}
    required = schema.get("required") or []
    return {name: _value(properties.get(name, {}), root, depth + 1) for name in required}


def _number(schema: Json) -> int | float:
    lowest: int | float = schema.get("minimum", 0)
    if "exclusiveMinimum" in schema:
        lowest = schema["exclusiveMinimum"] + 1
    highest: int | float = schema.get("maximum", lowest)
    return min(lowest, highest)


def _string(schema: Json) -> str:
    word = _FORMATS.get(str(schema.get("format")), "sandbox")
    padded = word.ljust(schema.get("minLength", 0), ".")
    return padded[: schema.get("maxLength", len(padded))]


def _resolve(reference: str, root: Json) -> object:
    found: object = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _merge(schemas: list[Any], root: Json) -> Json:
    merged: Json = {"type": "object", "properties": {}, "required": []}
    for schema in schemas:
        part = _resolve(str(schema["$ref"]), root) if _is_reference(schema) else schema
        if not isinstance(part, dict):
            continue
        if part.get("type") not in (None, "object"):
            return part
        merged["properties"] |= part.get("properties") or {}
        merged["required"] += part.get("required") or []
    return merged


def _is_reference(schema: Any) -> bool:
    return isinstance(schema, dict) and "$ref" in schema
