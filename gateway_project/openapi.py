"""Write the management API's OpenAPI schema to standard output; `make schema` keeps it in docs/openapi.

Only this needs drf-spectacular; what is served is the file.
"""

from __future__ import annotations

import sys
from typing import Any

import django


def generate() -> str:
    """Return the schema as YAML, the same for the same routes."""
    # Here, because a gateway neither needs nor loads them.
    from django.urls import include, path  # noqa: PLC0415
    from drf_spectacular.generators import SchemaGenerator  # noqa: PLC0415
    from drf_spectacular.renderers import OpenApiYamlRenderer  # noqa: PLC0415
    from drf_spectacular.settings import patched_settings  # noqa: PLC0415

    from gateway_project.api_urls import app_name, urlpatterns  # noqa: PLC0415
    from gateway_project.lib.prefixes import MANAGEMENT  # noqa: PLC0415
    from gateway_project.openapi_operations import RowsSchema, problems  # noqa: PLC0415
    from tenants.api.base import ManagementView  # noqa: PLC0415

    ManagementView.schema = RowsSchema()
    patterns = [path(MANAGEMENT.lstrip("/"), include((urlpatterns, app_name)))]
    components = {**SETTINGS["APPEND_COMPONENTS"], "responses": problems()}
    with patched_settings({**SETTINGS, "APPEND_COMPONENTS": components}):
        generator: Any = SchemaGenerator
        renderer: Any = OpenApiYamlRenderer()
        schema = generator(patterns=patterns).get_schema(public=True)
        text: bytes = renderer.render(schema, renderer_context={})
    return text.decode()


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "What programs compare (docs/errors.md)."},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "Sentences by field; those of an empty name are about the whole.",
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}
SETTINGS: dict[str, Any] = {
    "TITLE": "Tollgate management API",
    "DESCRIPTION": (
        "What the console can do, for programs. docs/management-api.md explains how to use it, also how an "
        "operator acts as a tenant (the header X-Tollgate-Support-Session, on any request)."
    ),
    "VERSION": "1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SECURITY": [{"token": []}],
    "SERVERS": [{"url": "/"}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "tg_admin_…"}
        },
        "schemas": {"Problem": _PROBLEM},
    },
}

if __name__ == "__main__":
    django.setup()
    sys.stdout.write(generate())
