"""The pages of long work: asking for an export, tasks and how far they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Model, QuerySet, Value
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib.json import Json
from tenants.access.rights import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.console import drawing, task_words
from tenants.console.actions import RowAction, console_action
from tenants.console.live import live_topic
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope, carried, instant_of, zone_of
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.long_work import asking, files, usage_export
from tenants.managed.long_work import TASKS
from tenants.models import LongTask

State = LongTask.State
MOST_SHOWN = 20
DAY_LENGTH = len("2026-11-28")


def waits_to_charge(task: LongTask) -> bool:
    return task.state == State.WAITING and task.kind == LongTask.Kind.RERATING


def waits_to_delete(task: LongTask) -> bool:
    return task.state == State.WAITING and task.kind == LongTask.Kind.PURGE


def is_unfinished(task: LongTask) -> bool:
    return not task.is_over


def has_file(task: LongTask) -> bool:
    return task.has_file


def _confirm_question(task: LongTask) -> str:
    how = _("Each is corrected in the ledger. What invoices say that are final is not changed.")
    return f"{task_words.proposal(task)} {how}"


def _purge_question(task: LongTask) -> str:
    how = _(
        "What belongs to them goes along: input, output, events. Younger responses that continue one of "
        "them stay, but cannot be continued any more. The ledger and invoices keep their requests."
    )
    return f"{task_words.proposal(task)} {how}"


@admin.register(LongTask)
class LongTaskAdmin(BrowsingAdmin):
    """Tasks, newest first; the page of one is kept up to date while it runs."""

    resource = TASKS
    change_form_template = "admin/tenants/progress.html"
    when_empty = gettext_lazy(
        "What takes long stands here: exports of requests, re-ratings, purges."
    )
    list_display = ("what", "owner", "state_shown", "how_far", "by", "asked_shown")
    list_filter = ("kind", "state", ("tenant", TenantRelatedFilter))
    ordering = ("-id",)
    sortable_by = ()
    fields = ("what", "owner", "asked_for", "by", "asked_shown", "finished_shown")
    readonly_fields = fields
    list_select_related: ClassVar[tuple[str, ...]] = ("tenant",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        zone = zone_of(request).key
        rows: QuerySet[Any] = super().get_queryset(request).annotate(zone=Value(zone))
        return rows

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.file_view)
        name = "tenants_longtask_file"
        return [path("<path:object_id>/file/", view, name=name), *super().get_urls()]

    def file_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stream the file of a task, a piece at a time."""
        task = self.get_object(request, unquote(object_id))
        if task is None:
            raise Http404
        found = files.open_file(access(request), task)
        body: Any = files.streamed(found) if isinstance(request, ASGIRequest) else found
        return StreamingHttpResponse(  # type: ignore[return-value]  # the stubs know no common base
            body,
            content_type=files.CONTENT_TYPE,
            headers={"Content-Disposition": f'attachment; filename="{files.file_name(task)}"'},
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        task = options.get("obj")
        shown = {} if task is None else _shown(request, task)
        return super().render_change_form(request, {**context, **shown}, *rest, **options)

    def _may_act(self, action: RowAction, request: HttpRequest, row: Model) -> bool:
        assert isinstance(row, LongTask)
        return super()._may_act(action, request, row) and TASKS.may_move(access(request), row)

    @console_action(
        gettext_lazy("Charge them anew"),
        right="view",
        asks=_confirm_question,
        operators=True,
        shown_for=waits_to_charge,
    )
    def confirm(self, request: HttpRequest, row: LongTask) -> str:
        asking.confirm(access(request), row)
        return _("Requests are being charged anew. You may leave this page.")

    @console_action(
        gettext_lazy("Delete them"),
        right="view",
        asks=_purge_question,
        is_harmful=True,
        shown_for=waits_to_delete,
    )
    def delete_stored(self, request: HttpRequest, row: LongTask) -> str:
        asking.confirm(access(request), row)
        return _("They are being deleted. You may leave this page.")

    @console_action(
        gettext_lazy("Cancel"),
        right="view",
        asks=gettext_lazy("It goes no further. What it has changed until now stays changed."),
        is_harmful=True,
        shown_for=is_unfinished,
    )
    def cancel(self, request: HttpRequest, row: LongTask) -> str:
        asking.discard(access(request), row)
        return _("The task is cancelled.")

    @console_action(
        gettext_lazy("Erase the file"),
        right="view",
        asks=gettext_lazy("Its file is erased. The same can be exported again."),
        is_harmful=True,
        shown_for=has_file,
    )
    def erase(self, request: HttpRequest, row: LongTask) -> str:
        asking.discard(access(request), row)
        return _("The file is erased.")

    @admin.display(description=gettext_lazy("Task"))
    def what(self, task: LongTask) -> str:
        return task.get_kind_display()

    @admin.display(description=gettext_lazy("Tenant"))
    def owner(self, task: LongTask) -> str:
        return _("All tenants") if task.tenant is None else str(task.tenant)

    @admin.display(description=gettext_lazy("State"))
    def state_shown(self, task: LongTask) -> SafeString:
        return task_words.badge(task)

    @admin.display(description=gettext_lazy("How far it is"))
    def how_far(self, task: LongTask) -> SafeString:
        text = task_words.progress(task, _zone(task))
        return format_html('<span class="tg-wrap">{}</span>', text)

    @admin.display(description=gettext_lazy("What was asked for"))
    def asked_for(self, task: LongTask) -> str:
        return task_words.asked(task, _zone(task))

    @admin.display(description=gettext_lazy("Asked by"))
    def by(self, task: LongTask) -> str:
        return task.asked_by

    @admin.display(description=gettext_lazy("Asked at"))
    def asked_shown(self, task: LongTask) -> SafeString:
        return _instant(task.asked_at, task)

    @admin.display(description=gettext_lazy("Finished at"))
    def finished_shown(self, task: LongTask) -> SafeString | str:
        return "—" if task.finished_at is None else _instant(task.finished_at, task)


def _zone(task: LongTask) -> ZoneInfo:
    """Return the zone of the page that a task was read for."""
    return ZoneInfo(getattr(task, "zone", "UTC"))


def _instant(at: datetime, task: LongTask) -> SafeString:
    return format_html('<span class="nowrap">{}</span>', drawing.instant(at, _zone(task)))


def _shown(request: HttpRequest, task: LongTask) -> dict[str, Any]:
    """Return what the page of a task shows above its facts."""
    is_theirs = task.has_file and TASKS.may_move(access(request), task)
    return {
        "topic": "task",
        "badge": task_words.badge(task),
        "sentence": task_words.progress(task, zone_of(request)),
        "percent": task_words.percent(task),
        "is_moving": task.state in {State.QUEUED, State.RUNNING},
        "file_url": reverse("admin:tenants_longtask_file", args=(task.pk,)) if is_theirs else "",
        "file_size": task_words.size(task.bytes),
    }


@live_topic("task")
def follow_task(request: HttpRequest) -> Json:
    """Tell the page of a task how far it is."""
    try:
        key = UUID(request.GET.get("task", ""))
    except ValueError:
        raise Http404 from None
    task = TASKS.visible(access(request), LongTask.objects.all()).filter(pk=key).first()
    if task is None:
        raise Http404
    return {
        "text": task_words.progress(task, zone_of(request)),
        "percent": task_words.percent(task),
        "is_over": task.state not in {State.QUEUED, State.RUNNING},
    }


def address_of(task: LongTask) -> str:
    return reverse("admin:tenants_longtask_change", args=(task.pk,))


def recent(scope: Scope, kind: LongTask.Kind) -> list[dict[str, Any]]:
    """Return the newest tasks of a kind that the page may show, in words."""
    rows = TASKS.visible(scope.who, LongTask.objects.filter(kind=kind)).select_related("tenant")
    if scope.tenant is not None:
        rows = rows.filter(tenant=scope.tenant)
    return [
        {
            "task": task,
            "address": address_of(task) + scope.link(),
            "badge": task_words.badge(task),
            "asked": task_words.asked(task, scope.zone),
            "sentence": task_words.progress(task, scope.zone),
        }
        for task in rows.order_by("-pk")[:MOST_SHOWN]
    ]


def span_of(given: Mapping[str, str], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the span of a form's two days. Raise ValidationError."""
    try:
        start = instant_of(given.get("from", "")[:DAY_LENGTH], zone)
        end = instant_of(given.get("to", "")[:DAY_LENGTH], zone, is_end=True)
    except (ValueError, OverflowError):
        raise ValidationError(_("Give the first and the last day.")) from None
    return start, end


def given_of(request: HttpRequest, scope: Scope) -> dict[str, str]:
    """Return what the form was sent with, or begins with: the days of the page's scope."""
    days = {
        "from": f"{scope.start.astimezone(scope.zone):%Y-%m-%d}",
        "to": f"{scope.end.astimezone(scope.zone):%Y-%m-%d}",
    }
    sent = {
        name: str(value).replace("\0", "").strip()[:300] for name, value in request.POST.items()
    }
    return {**days, "alias": scope.filters.get("alias", ""), **sent}


class TaskPage(ConsolePage):
    """A page that asks for a task and lists the last ones of its kind."""

    kind: ClassVar[LongTask.Kind]
    methods = frozenset({"GET", "HEAD", "POST"})
    period = "30d"

    def ask(self, request: HttpRequest, scope: Scope, given: Mapping[str, str]) -> LongTask:
        """Ask for the task that the form describes. Raise ValidationError."""
        raise NotImplementedError

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        given, problem = given_of(request, scope), ""
        if request.method == "POST":
            try:
                task = self.ask(request, scope, given)
            except ValidationError as error:
                problem = " ".join(error.messages)
            else:
                messages.success(request, _("It is being done. You may leave this page."))
                return HttpResponseRedirect(address_of(task) + carried(request))
        shown = self.context(request, scope, **captured)
        tasks = recent(scope, self.kind)
        return self.rendered(
            request, scope, {"given": given, "problem": problem, "tasks": tasks, **shown}
        )


@console_page
class ExportsPage(TaskPage):
    """Asks for an export of requests."""

    path = name = "exports"
    title = gettext_lazy("Exports")
    template = "console/exports.html"
    area = Area.USAGE
    kind = LongTask.Kind.USAGE_EXPORT

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        is_all = (Area.USAGE, "view") in scope.who.platform
        return {"needs_tenant": scope.tenant is None and not is_all}

    def ask(self, request: HttpRequest, scope: Scope, given: Mapping[str, str]) -> LongTask:
        start, end = span_of(given, scope.zone)
        try:
            return usage_export.ask(
                scope.who,
                scope.tenant,
                start,
                end,
                alias=given["alias"],
                written_as=given.get("format", "csv"),
            )
        except PermissionDenied:
            raise ValidationError(
                _("Choose a tenant at the top whose usage you may see.")
            ) from None
