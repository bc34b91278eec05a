"""Django's routes. What generates or streams never comes here (see asgi.py)."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from responses_api.views.errors import unknown_route

handler400 = "responses_api.views.errors.refused_by_django"
handler500 = "responses_api.views.errors.failed_in_django"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("console/", admin.site.urls),
    path("v1", unknown_route),
    path("openai/v1", unknown_route),
    path("v1/", include("responses_api.urls")),
    path("openai/v1/", include("responses_api.urls")),
]
