"""Answer in the format of the API where no view does: unknown routes, and errors of Django itself."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from gateway_project.lib.asgi import note
from gateway_project.lib.errors import BadRequest, GatewayError, Internal, NotFound
from gateway_project.lib.prefixes import is_api, is_management
from gateway_project.lib.problems import CONTENT_TYPE, problem_body
from responses_api.stream.error_body import openai_error


def refused_by_django(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses before any view runs, such as one for a host it does not serve."""
    if not (is_api(request.path) or is_management(request.path)):
        return defaults.bad_request(request, exception)
    return _json(request, BadRequest(f"The request was refused: {str(exception)[:200]}"))


def failed_in_django(request: HttpRequest) -> HttpResponse:
    """Answer an exception that no view caught."""
    if not (is_api(request.path) or is_management(request.path)):
        return defaults.server_error(request)
    return _json(request, Internal())


@csrf_exempt
def unknown_route(request: HttpRequest) -> HttpResponse:
    """Answer anything else under the prefixes of the APIs."""
    error = NotFound(f"Unknown route: {request.method} {request.path[:200]}.")
    if (scope := getattr(request, "scope", None)) is not None:
        note(scope, error=error.code)
    return _json(request, error)


def _json(request: HttpRequest, error: GatewayError) -> HttpResponse:
    is_problem = is_management(request.path)
    return HttpResponse(
        problem_body(error) if is_problem else openai_error(error),
        content_type=CONTENT_TYPE if is_problem else "application/json",
        status=error.http_status,
        headers=error.headers(),
    )
