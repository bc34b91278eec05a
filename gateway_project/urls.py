"""Django's routes. What generates or streams never comes here (see asgi.py)."""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import URLResolver, include, path
from django.urls.resolvers import RoutePattern
from django.views.generic import RedirectView

from gateway_project.lib.prefixes import MANAGEMENT
from responses_api.views.errors import unknown_route

handler400 = "responses_api.views.errors.refused_by_django"
handler500 = "responses_api.views.errors.failed_in_django"


class LateResolver(URLResolver):
    """Routes of a namespace that are imported when one of them is first asked for, and not by `reverse`
    when it looks for others.
    """

    def _populate(self) -> None:
        """Collect nothing: within a namespace, `reverse` reads the routes themselves."""


management = LateResolver(
    RoutePattern(MANAGEMENT.lstrip("/")),
    "gateway_project.api_urls",
    app_name="management",
    namespace="management",
)
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("console/favicon.svg"))),
    # By its name: imported when it is first asked for, and so by no process that serves no console.
    URLResolver(RoutePattern("console/"), "gateway_project.console_urls"),
    management,
    path(MANAGEMENT.strip("/"), unknown_route),
    path("v1", unknown_route),
    path("openai/v1", unknown_route),
    path("v1/", include("responses_api.urls")),
    path("openai/v1/", include("responses_api.urls")),
]
