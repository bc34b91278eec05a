"""GET /models and /models/{id}."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from responses_api.resources import model_list
from responses_api.resources.rest import caller_of
from routing.resolve import model_not_found, visible_alias, visible_aliases


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
