"""Routes of the management API. Loaded with its first request: a gateway that is only asked for answers of
models needs none of it in memory.
"""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from gateway_project import api_docs, system_api
from responses_api.views.errors import unknown_route

app_name = "management"
urlpatterns: list[URLPattern | URLResolver] = [
    path("docs/", api_docs.docs, name="docs"),
    path("openapi.yaml", api_docs.schema, name="schema"),
    path("system", system_api.SystemView.as_view(), name="system"),
    path("", include("tenants.api.urls")),
    path("", include("routing.api.urls")),
    path("", include("responses_api.api.urls")),
    re_path("", unknown_route),
]
