"""The OpenAI-compatible routes that only read the database."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway_project.lib.errors import BadRequest, GatewayError, Internal, NotFound
from responses_api import model_list
from responses_api.rest import caller_of
from routing.resolve import model_not_found, visible_alias, visible_aliases

PREFIXES = ("/v1/", "/openai/v1/")


class ModelsView(APIView):
    """GET /models"""

    scope = "models"

    def get(self, request: Request) -> Response:
        return Response(model_list.listing(visible_aliases(caller_of(request))))


class ModelView(APIView):
    """GET /models/{id}; an id may hold slashes."""

    scope = "models"

    def get(self, request: Request, name: str) -> Response:
        alias = visible_alias(caller_of(request), name)
        if alias is None:
            raise model_not_found(name)
        return Response(model_list.entry(alias))


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


def is_api(path: str) -> bool:
    """Whether a path is served in OpenAI's formats, errors included."""
    return path.startswith(PREFIXES)


def _json(error: GatewayError) -> JsonResponse:
    return JsonResponse(error.body(), status=error.http_status, headers=error.headers())


@csrf_exempt
def unknown_route(request: HttpRequest) -> JsonResponse:
    """Anything else under the API's prefixes."""
    return _json(NotFound(f"Unknown route: {request.method} {request.path[:200]}."))
