"""A request that Django serves leaves no connection to the database behind, however it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.http import HttpRequest, StreamingHttpResponse

from responses_api.views import models
from tenants.models import Tenant
from tests.support import open_connections


def test_a_stream_that_fails_midway_leaves_none(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pages() -> AsyncIterator[str]:
        yield str(await sync_to_async(Tenant.objects.count)())
        raise OperationalError("the database is away")

    def get(self: models.ModelsView, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(pages())

    monkeypatch.setattr(models.ModelsView, "get", get)

    with pytest.raises(httpx.RemoteProtocolError):
        http.get("/models")

    assert open_connections.take_left() == []
