"""What answers where no view does: unknown routes, and errors of Django itself, in OpenAI's envelope."""

from __future__ import annotations

import orjson
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from gateway_project.lib.asgi import note
from gateway_project.lib.errors import BadRequest, GatewayError, Internal, NotFound
from responses_api.prefixes import is_api


def refused_by_django(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before any view runs, such as a host it does not serve."""
    if not is_api(request.path):
        return defaults.bad_request(request, exception)
    return _json(BadRequest(f"The request was refused: {str(exception)[:200]}"))


def failed_in_django(request: HttpRequest) -> HttpResponse:
    """An exception no view caught."""
    if not is_api(request.path):
        return defaults.server_error(request)
    return _json(Internal())


@csrf_exempt
def unknown_route(request: HttpRequest) -> HttpResponse:
    """Anything else under the API's prefixes."""
    error = NotFound(f"Unknown route: {request.method} {request.path[:200]}.")
    if (scope := getattr(request, "scope", None)) is not None:
        note(scope, error=error.code)
    return _json(error)


def _json(error: GatewayError) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(error.body()),
        content_type="application/json",
        status=error.http_status,
        headers=error.headers(),
    )
