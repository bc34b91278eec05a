"""Routes under /v1 and /openai/v1 that are served by Django; asgi.py has those that generate."""

from __future__ import annotations

from django.urls import path, re_path

from responses_api import views

urlpatterns = [
    path("models", views.ModelsView.as_view(), name="models"),
    path("models/<path:name>", views.ModelView.as_view(), name="model"),
    re_path("", views.unknown_route),
]
