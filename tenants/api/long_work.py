"""Serve long work: exports that are asked for, tasks and how far they are, files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import clock, errors
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of
from tenants.api.reports import asked_tenant
from tenants.api.rows import Rows, RowSerializer
from tenants.billing.instants import month_of
from tenants.long_work import asking, files, usage_export
from tenants.managed.long_work import TASKS
from tenants.managed.values import instant
from tenants.models import LongTask, Tenant


class TaskSerializer(RowSerializer):
    has_file = serializers.BooleanField(read_only=True)

    class Meta:
        model = LongTask
        fields = (
            "id", "kind", "tenant", "state", "asked_by", "asked_at", "parameters", "done", "expected",
            "result", "error", "bytes", "has_file", "finished_at", "expires_at",
        )  # fmt: skip


class TaskRows(Rows):
    resource, about = TASKS, "tasks"
    serializer_class = TaskSerializer
    restless = ("done", "bytes", "result")
    filters: ClassVar[dict[str, str]] = {"tenant": "tenant", "kind": "kind", "state": "state"}
    further: ClassVar[dict[str, str]] = {"confirm": "post", "discard": "post", "file": "get"}
    files: ClassVar[dict[str, str]] = {"file": files.CONTENT_TYPE}

    def confirm(self, request: Request, key: str) -> Response:
        """Let a task go on that has told what it would change."""
        task = self.row(request, key)
        body_of(request, ())
        asking.confirm(access_of(request), task)
        return self.answer(self.row(request, key), request)

    def discard(self, request: Request, key: str) -> Response:
        """Cancel a task, or erase its file. What it has changed until then stays changed."""
        task = self.row(request, key)
        body_of(request, ())
        asking.discard(access_of(request), task)
        return self.answer(self.row(request, key), request)

    def file(self, request: Request, key: str) -> HttpResponse:
        """Get the file of a task that is done: gzip, of CSV or JSON Lines."""
        task = self.row(request, key)
        found = files.open_file(access_of(request), task)
        body: Any = files.streamed(found) if isinstance(request._request, ASGIRequest) else found
        return StreamingHttpResponse(  # type: ignore[return-value]  # the stubs know no common base
            body,
            content_type=files.CONTENT_TYPE,
            headers={"content-disposition": f'attachment; filename="{files.file_name(task)}"'},
        )


class ExportSerializer(serializers.Serializer[Any]):
    tenant = serializers.IntegerField(
        required=False, allow_null=True, help_text="Null, for operators: of all."
    )
    start = serializers.DateTimeField(
        required=False, help_text="The month's beginning if left out."
    )
    end = serializers.DateTimeField(required=False, help_text="Now if left out.")
    alias = serializers.CharField(required=False, help_text="Only requests to this alias.")
    format = serializers.ChoiceField(required=False, choices=usage_export.FORMATS)


class ExportView(ManagementView):
    """Begin to export calls of the ledger to a file; `tasks` tells how far it is, and has the file then."""

    operation = "exports_create"
    serializer_class = TaskSerializer
    body_class = ExportSerializer
    status_of_success = 201

    def post(self, request: Request) -> Response:
        who = access_of(request)
        if not who.may_somewhere("view", Area.USAGE):
            raise PermissionDenied
        body = body_of(request, ("tenant", "start", "end", "alias", "format"))
        tenant = tenant_in(who, body)
        start, end = span_in(body, tenant)
        task = usage_export.ask(
            who,
            tenant,
            start,
            end,
            alias=text_in(body, "alias"),
            written_as=text_in(body, "format", "csv"),
        )
        return Response(told_task(who, task), status=201)


def told_task(who: Access, task: LongTask) -> dict[str, Any]:
    """Return a task as its route shows it."""
    return TaskRows().represented(task, who)


def tenant_in(who: Access, body: Mapping[str, Any]) -> Tenant | None:
    """Return the tenant that a body names; of a tenant's own token, that one. Raise Http404."""
    given = body.get("tenant")
    return asked_tenant(who, None if given is None else str(given))


def span_in(body: Mapping[str, Any], tenant: Tenant | None) -> tuple[datetime, datetime]:
    """Return the span that a body names, the running month so far by default. Raise InvalidFields."""
    zone = "UTC" if tenant is None else tenant.time_zone
    end = instant_in(body, "end") or clock.now()
    start = instant_in(body, "start") or month_of(min(end, clock.now()), zone)[0]
    return start, end


def text_in(body: Mapping[str, Any], name: str, usual: str = "") -> str:
    """Return a text of a body. Raise InvalidFields if it is none."""
    value = body.get(name, usual)
    if not isinstance(value, str):
        raise errors.InvalidFields({name: ["Write a text."]})
    return value


def instant_in(body: Mapping[str, Any], name: str) -> datetime | None:
    """Return an instant of a body; None if it is left out. Raise InvalidFields if it is none."""
    if not (text := text_in(body, name)):
        return None
    try:
        return instant(text)
    except ValidationError as error:
        raise errors.InvalidFields({name: error.messages}) from error
