"""Describe each operation of the management API from what its view declares."""

from __future__ import annotations

import re
from http import HTTPStatus
from itertools import chain
from typing import Any

from django.db.models import (
    BooleanField,
    DateTimeField,
    IntegerField,
    UUIDField,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry

from gateway_project.lib.prefixes import MANAGEMENT
from gateway_project.lib.problems import CONTENT_TYPE
from tenants.api.rows import MAX_KEY_LENGTH, Rows
from tenants.api.shown import DEFAULT_LIMIT, MAX_LIMIT, filtered_field

Json = dict[str, Any]

NAMES = {"create": "Create", "retrieve": "Get", "partial_update": "Change", "destroy": "Delete"}
ALWAYS = (401, 403, 405, 429, 503)
ETAG: Json = {"description": "For If-Match.", "schema": {"type": "string"}}


class RowsSchema(AutoSchema):
    """The schema of one of the views of a resource."""

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: ComponentRegistry,
    ) -> Json:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        rows = self.view
        if not isinstance(rows, Rows):
            return self._report(rows)
        action: str = rows.action
        operation: Json = {
            "operationId": self._id(action),
            "summary": self._summary(rows, action),
            "tags": [path.removeprefix(MANAGEMENT).partition("/{")[0]],
            "parameters": self._asked(rows, action),
        }
        if (body := self._body(rows, action)) is not None:
            operation["requestBody"] = body
        operation["responses"] = self._answers(rows, action)
        return operation

    def _report(self, view: Any) -> Json:
        """Describe a view that has no rows: it answers a question, or takes a document."""
        method = self.method.lower()
        usual = {"id": getattr(view, "operation", ""), "asked": getattr(view, "asked", {})}
        said: Json = getattr(view, "operations", {}).get(method, usual)
        told = getattr(view, method).__doc__ or view.__doc__ or ""
        operation: Json = {
            "operationId": said["id"],
            "summary": " ".join(told.split()),
            "tags": [said["id"].partition("_")[0]],
            "parameters": [
                *(
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in re.findall(r"{(\w+)}", self.path)
                ),
                *(
                    {"name": name, "in": "query", "schema": kind}
                    for name, kind in said["asked"].items()
                ),
            ],
        }
        if "takes" in said:
            content = {said["takes"]: {"schema": {"type": "object"}}}
            operation["requestBody"] = {"content": content, "required": True}
        elif (body := getattr(view, "body_class", None)) is not None:
            schema = self.resolve_serializer(body, "request").ref
            content = {"application/json": {"schema": schema}}
            operation["requestBody"] = {"content": content, "required": True}
        refusals = (400, 404) if method == "get" else _refusals(method)
        operation["responses"] = {
            str(getattr(view, "status_of_success", 200)): self._good_report(view, said),
            **{str(status): _problem(status) for status in sorted({*ALWAYS, *refusals})},
        }
        return operation

    def _good_report(self, view: Any, said: Json) -> Json:
        schema: Json = {"type": "object"}  # of a document, what its text stands for
        if "answers" not in said:
            schema = self.resolve_serializer(view.serializer_class, "response").ref
        content = {said.get("answers", "application/json"): {"schema": schema}}
        return {"description": "", "content": content}

    def _id(self, action: str) -> str:
        name = self.path.removeprefix(MANAGEMENT).partition("/{")[0]
        return f"{name}_{action}".replace("/", "_").replace("-", "_")

    def _summary(self, rows: Rows, action: str) -> str:
        if action == "list":
            return f"List {rows.about}."
        if action in NAMES:
            return f"{NAMES[action]} one of the {rows.about}."
        return (getattr(rows, action).__doc__ or "").strip()

    def _asked(self, rows: Rows, action: str) -> list[Json]:
        if action == "list":
            return _of_list(rows)
        if action == "create":
            told = "Makes it once, however often the same request is sent within a day."
            return [_header("Idempotency-Key", told, MAX_KEY_LENGTH)]
        found: list[Json] = [
            {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
        if action in {"partial_update", "destroy"}:
            found.append(_header("If-Match", "An ETag; refused if it has changed since.", 2000))
        return found

    def _body(self, rows: Rows, action: str) -> Json | None:
        if action in {"create", "partial_update"}:
            serializer: Any = rows.serializer_class(partial=action == "partial_update")
        else:
            serializer = getattr(rows, "bodies", {}).get(action)
        if serializer is None:
            return None
        schema = self.resolve_serializer(serializer, "request").ref
        return {
            "content": {"application/json": {"schema": schema}},
            "required": action in {"create", "partial_update"},
        }

    def _answers(self, rows: Rows, action: str) -> Json:
        good = {"create": 201, "destroy": 204}.get(action, 200)
        return {
            str(good): self._good(rows, action),
            **{str(status): _problem(status) for status in sorted({*ALWAYS, *_refusals(action)})},
        }

    def _good(self, rows: Rows, action: str) -> Json:
        if action == "destroy":
            return {"description": "It is gone."}
        if (kind := getattr(rows, "files", {}).get(action)) is not None:
            content = {kind: {"schema": _schema_of_file(kind)}}
            return {"description": "The document.", "content": content}
        other = getattr(rows, "answers", {}).get(action)
        if other is not None:
            items = self.resolve_serializer(other, "response").ref
            more = {"type": "boolean", "description": "Whether there are more than are shown."}
            schema = _object({"data": {"type": "array", "items": items}, "has_more": more})
            return {"description": "", "content": {"application/json": {"schema": schema}}}
        if (result := getattr(rows, "results", {}).get(action)) is not None:
            schema = self.resolve_serializer(result, "response").ref
            return {"description": "", "content": {"application/json": {"schema": schema}}}
        schema = self._row(rows, action)
        found: Json = {"description": "", "content": {"application/json": {"schema": schema}}}
        if action != "list":
            found["headers"] = {"ETag": ETAG}
        return found

    def _row(self, rows: Rows, action: str) -> Json:
        row: Json = self.resolve_serializer(rows.serializer_class, "response").ref
        if action == "list":
            if rows.left_out:
                row = self._without(rows)
            cursor = {"type": "string", "nullable": True, "description": "Null after the last."}
            return _object({"data": {"type": "array", "items": row}, "next_cursor": cursor})
        if rows.shows_secret and action in {"create", "rotate", "resend"}:
            told = "Shown this once; null where the request was a repeated one."
            once = {"type": "string", "nullable": True, "description": told}
            return {"allOf": [row, _object(dict.fromkeys(rows.shown_once, once))]}
        return row

    def _without(self, rows: Rows) -> Json:
        """Return what lists show of a row whose large parts they leave out."""
        component = self.resolve_serializer(rows.serializer_class, "response")
        whole = component.schema
        assert isinstance(whole, dict)
        kept = {k: v for k, v in whole["properties"].items() if k not in rows.left_out}
        return {
            **whole,
            "properties": kept,
            "required": [name for name in whole.get("required", ()) if name not in rows.left_out],
        }

    def _postprocess_serializer_schema(self, schema: Any, serializer: Any, direction: Any) -> Any:
        schema = super()._postprocess_serializer_schema(  # type: ignore[no-untyped-call]
            schema, serializer, direction
        )
        schema.pop("description", None)  # a docstring of ours
        for column in schema.get("properties", {}).values():
            for each in (column, column.get("items", {})):
                each.pop("x-spec-enum-id", None)
        if direction == "request":
            schema["additionalProperties"] = False
            for column in schema.get("properties", {}).values():
                column.pop("default", None)
            return schema
        rows = self.view
        if isinstance(rows, Rows) and isinstance(serializer, rows.serializer_class):
            for name in _hideable(rows) & schema["properties"].keys():
                schema["properties"][name] = _nullable(schema["properties"][name])
        return schema


def _hideable(rows: Rows) -> set[str]:
    resource: Any = rows.resource
    named = (getattr(resource, name, ()) for name in ("OF_OPERATORS", "OF_UPSTREAMS"))
    return {*resource.hidden_of_platform, *chain.from_iterable(named)}


def _nullable(column: Json) -> Json:
    return {**column, "nullable": True}


def _refusals(action: str) -> tuple[int, ...]:
    match action:
        case "list":
            return (400,)
        case "create":
            return (400, 409, 413, 422)
        case "retrieve":
            return (400, 404)
        case "destroy":
            return (400, 404, 409, 412)
    return (400, 404, 409, 412, 413)


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _problem(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_name(status)}"}


def problems() -> Json:
    """Return every refusal, by its name."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        _name(status): {
            "description": HTTPStatus(status).phrase,
            "content": {CONTENT_TYPE: {"schema": schema}},
        }
        for status in (*ALWAYS, 400, 404, 409, 412, 413, 422)
    }


def _schema_of_file(kind: str) -> Json:
    is_json = kind == "application/json"
    return {"type": "object"} if is_json else {"type": "string", "format": "binary"}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _header(name: str, told: str, most: int) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": most}
    return {"name": name, "in": "header", "description": told, "schema": schema}


def _of_list(rows: Rows) -> list[Json]:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
    told = "The `next_cursor` of the page before."
    model = rows.resource.model
    return [
        {"name": "cursor", "in": "query", "description": told, "schema": {"type": "string"}},
        {"name": "limit", "in": "query", "schema": limit},
        *(
            {"name": name, "in": "query", "schema": _type_of(filtered_field(model, condition))}
            for name, condition in sorted(rows.filters.items())
        ),
    ]


def _type_of(field: Any) -> Json:
    match field:
        case DateTimeField():
            return {"type": "string", "format": "date-time"}
        case BooleanField():
            return {"type": "boolean"}
        case IntegerField():
            return {"type": "integer"}
        case UUIDField():
            return {"type": "string", "format": "uuid"}
    if field.choices:
        return {"type": "string", "enum": [value for value, _ in field.flatchoices]}
    return {"type": "string"}
