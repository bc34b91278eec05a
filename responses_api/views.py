"""The OpenAI-compatible routes that only read the database."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway_project.lib.errors import NotFound
from responses_api import model_list
from responses_api.rest import caller_of
from routing.resolve import model_not_found, visible_aliases


class ModelsView(APIView):
    """GET /models"""

    scope = "models"

    def get(self, request: Request) -> Response:
        return Response(model_list.listing(visible_aliases(caller_of(request))))


class ModelView(APIView):
    """GET /models/{id}; an id may hold slashes."""

    scope = "models"

    def get(self, request: Request, name: str) -> Response:
        alias = visible_aliases(caller_of(request)).filter(name=name).first()
        if alias is None:
            raise model_not_found(name)
        return Response(model_list.entry(alias))


@csrf_exempt
def unknown_route(request: HttpRequest) -> JsonResponse:
    """Anything else under the API's prefixes."""
    error = NotFound(f"Unknown route: {request.method} {request.path[:200]}.")
    return JsonResponse(error.body(), status=error.http_status)
