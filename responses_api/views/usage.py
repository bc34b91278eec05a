"""GET /usage"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from responses_api.resources import usage_list
from responses_api.views.base import tenant_of


class UsageView(APIView):
    """GET /usage: the usage of the caller's tenant, and of nobody else."""

    scope = "read"

    def get(self, request: Request) -> Response:
        return Response(usage_list.listing(tenant_of(request), request.query_params))
