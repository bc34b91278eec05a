"""Console pages of what runs: calls in flight, and responses that are made in the background."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib import clock, errors
from gateway_project.lib.json import Json
from responses_api.app_state import in_flight_of
from responses_api.live import background, viewing
from responses_api.live.in_flight import InFlight, PlacedCall
from responses_api.live.viewing import ShownCalls, StopResult
from responses_api.stream.answer_charge import dollars
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console.live import live_topic, with_database
from tenants.console.overview_panels import OverviewPanel, overview_panel
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope, read_scope

PHASES = {
    "preparing": gettext_lazy("preparing"),
    "shortening": gettext_lazy("summarizing"),
    "waiting": gettext_lazy("waiting for output"),
    "streaming": gettext_lazy("streaming"),
    "stalled": gettext_lazy("client is slow"),
    "storing": gettext_lazy("storing"),
    "ending": gettext_lazy("ending"),
}
CHANNELS = {
    "request": gettext_lazy("whole answer"),
    "stream": gettext_lazy("stream"),
    "socket": gettext_lazy("WebSocket"),
    "background": gettext_lazy("background"),
}
STATUSES = {"queued": gettext_lazy("queued"), "in_progress": gettext_lazy("running")}


@console_page
class InFlightPage(ConsolePage):
    """The calls that are running on all workers, oldest first; kept up to date by a script."""

    path = "in-flight"
    name = "in_flight"
    title = gettext_lazy("In flight")
    template = "console/in_flight.html"
    area = Area.USAGE

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        shows = {"spans_tenants": scope.tenant is None, "shows_workers": scope.who.sees_all_tenants}
        return {**_in_flight(request, scope), **shows}


@live_topic("in-flight")
async def follow_in_flight(request: HttpRequest) -> Json:
    """Tell what runs to a page that is open."""
    scope = await with_database(read_scope, request)
    return await _told(request, scope)


@live_topic("running-now", every_seconds=5)
async def follow_running_now(request: HttpRequest) -> Json:
    """Tell the first page how many calls run."""
    scope = await with_database(read_scope, request)
    tenant = None if scope.tenant is None else scope.tenant.pk
    found = await in_flight_of(request).look(viewing.visible_tenants(scope.who, tenant))
    return {"text": " ".join((_running(found), *_unheard(found)))}


@overview_panel
def running_now(request: HttpRequest, scope: Scope) -> OverviewPanel | None:
    """Show on the first page how many calls run. The page does not wait for the workers: its script asks."""
    if not scope.may("view", Area.USAGE):
        return None
    link = f"{reverse('admin:in_flight')}{scope.link()}"
    return OverviewPanel(gettext_lazy("In flight"), "console/running_now.html", {"link": link})


def _in_flight(request: HttpRequest, scope: Scope) -> Json:
    return async_to_sync(_told)(request, scope)


async def _told(request: HttpRequest, scope: Scope) -> Json:
    tenant = None if scope.tenant is None else scope.tenant.pk
    shown = await viewing.see(in_flight_of(request), scope.who, tenant)
    calls = [_row(shown, each, scope) for each in shown.in_flight.calls]
    return {"calls": calls, "summary": _summary(shown.in_flight)}


def _row(shown: ShownCalls, placed: PlacedCall, scope: Scope) -> Json:
    call, worker = placed.call, placed.worker
    stop_url = ""
    if shown.may_stop(call):
        address = reverse("admin:stop_request", args=(call.request_id,))
        stop_url = f"{address}{scope.link()}"
    return {
        "request_id": call.request_id,
        "age": age_of(call.elapsed_ms / 1000),
        "key": call.key,
        "key_name": shown.key_names.get(call.key, ""),
        "tenant": call.tenant,
        "alias": call.alias,
        "target": _target(placed),
        "phase": str(PHASES[call.phase]),
        "channel": str(CHANNELS[call.channel]),
        "tokens": number_format(call.tokens, 0, force_grouping=True),
        "held": "" if call.held_nano is None else money(call.held_nano),
        "worker": "" if worker is None else f"{worker.host} · {worker.pid}",
        "stop_url": stop_url,
    }


def _target(placed: PlacedCall) -> str:
    call = placed.call
    if call.target and call.attempt > 1:
        return _("%(target)s, attempt %(number)s") % {"target": call.target, "number": call.attempt}
    return call.target


def _summary(found: InFlight) -> str:
    parts = [_running(found)]
    if found.total > len(found.calls):
        parts.append(_("The %(count)s oldest are shown.") % {"count": len(found.calls)})
    if found.reach == "alone":
        parts.append(_("Without Redis only the worker that shows this page is asked."))
    elif unheard := _unheard(found):
        parts += unheard
    else:
        told = {"answered": found.answered, "asked": found.asked}
        parts.append(_("%(answered)s of %(asked)s workers answered.") % told)
    return " ".join(parts)


def _running(found: InFlight) -> str:
    running = ngettext("%(count)s call is running.", "%(count)s calls are running.", found.total)
    return running % {"count": number_format(found.total, 0, force_grouping=True)}


def _unheard(found: InFlight) -> list[str]:
    """Say which workers did not tell what they run; nothing where all that there are did."""
    if found.reach == "cut_off":
        return [_("Redis does not answer: only the worker that shows this page was asked.")]
    if found.reach != "alone" and found.answered < found.asked:
        text = _("%(answered)s of %(asked)s workers answered; what the others run is not known.")
        return [text % {"answered": found.answered, "asked": found.asked}]
    return []


@console_page
class StopRequestPage(ConsolePage):
    """Asks before it stops a call, and tells how it ended."""

    path = "in-flight/<str:request_id>/stop"
    name = "stop_request"
    title = gettext_lazy("Stop a request")
    template = "console/stop_request.html"
    area = Area.USAGE
    methods = frozenset({"GET", "HEAD", "POST"})

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        request_id, calls, who = captured["request_id"], in_flight_of(request), access(request)
        back = HttpResponseRedirect(f"{reverse('admin:in_flight')}{scope.link()}")
        try:
            if request.method == "POST":
                _tell(request, async_to_sync(viewing.stop)(calls, who, request_id))
                return back
            placed = async_to_sync(viewing.find)(calls, who, request_id)
        except errors.NotFound:
            messages.info(request, _("That request is not running any more."))
            return back
        except errors.PermissionDenied as error:
            messages.error(request, error.message)
            return back
        call = placed.call
        if not who.may("change", Area.KEYS, call.tenant_id):
            messages.error(request, _("Stopping a request takes the right to change keys."))
            return back
        about = {
            "placed": placed,
            "age": age_of(call.elapsed_ms / 1000),
            "tokens": number_format(call.tokens, 0, force_grouping=True),
        }
        return self.rendered(request, scope, {**about, "phase": PHASES[call.phase]})


def _tell(request: HttpRequest, result: StopResult) -> None:
    stopped = result.stopped
    if stopped is None:
        messages.warning(
            request,
            _("The request was told to stop. Its worker did not say in time whether it has."),
        )
        return
    told = {
        "ms": number_format(stopped.after_ms, 0, force_grouping=True),
        "tokens": number_format(stopped.tokens, 0, force_grouping=True),
        "charge": money(stopped.charge_nano),
    }
    if not stopped.was_running:
        messages.info(
            request,
            _("The request was answered before it could be stopped; %(charge)s charged.") % told,
        )
    elif stopped.charge_nano:
        messages.success(
            request, _("Ended after %(ms)s ms: %(tokens)s tokens, %(charge)s charged.") % told
        )
    else:
        messages.success(
            request, _("Ended after %(ms)s ms: %(tokens)s tokens, nothing charged.") % told
        )


@console_page
class BackgroundPage(ConsolePage):
    """Responses that are queued or being made without a client on the line."""

    path = "background"
    name = "background"
    title = gettext_lazy("Background")
    template = "console/background.html"
    area = Area.USAGE

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        found = background.unfinished(scope.who, scope.tenant_ids(Area.USAGE))
        now = clock.now()
        rows = [
            {
                "run": run,
                "status": STATUSES.get(run.status, run.status),
                "waits": age_of((now - run.queued_at).total_seconds()),
                "queued_at": run.queued_at.astimezone(scope.zone),
                "lease": _lease(
                    run, (run.lease_until - now).total_seconds() if run.lease_until else None
                ),
            }
            for run in found.runs
        ]
        return {
            "rows": rows,
            "has_more": found.has_more,
            "spans_tenants": scope.tenant is None,
            "shows_workers": scope.who.sees_all_tenants,
        }


def _lease(run: background.BackgroundRun, seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= 0:
        return _("%(age)s left") % {"age": age_of(seconds)}
    return _("ran out %(age)s ago") % {"age": age_of(-seconds)}


@console_page
class CancelResponsePage(ConsolePage):
    """Asks before it cancels a response in the background."""

    path = "background/<str:response_id>/cancel"
    name = "cancel_response"
    title = gettext_lazy("Cancel a response")
    template = "console/cancel_response.html"
    area = Area.USAGE
    methods = frozenset({"GET", "HEAD", "POST"})

    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        response_id, who = captured["response_id"], access(request)
        back = HttpResponseRedirect(f"{reverse('admin:background')}{scope.link()}")
        try:
            run = background.find(who, response_id)
            if request.method != "POST" and who.may("change", Area.KEYS, run.tenant_id):
                return self.rendered(request, scope, {"run": run})
            status = background.cancel(who, response_id)
        except errors.NotFound:
            messages.info(request, _("That response is not being made any more."))
        except errors.PermissionDenied as error:
            messages.error(request, error.message)
        else:
            is_cancelled = status == "cancelled"
            text = (
                _("The response is cancelled.")
                if is_cancelled
                else _("The response had ended before.")
            )
            (messages.success if is_cancelled else messages.info)(request, text)
        return back


def age_of(seconds: float) -> str:
    """Return a span of time as people say it, to the second."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return _("%(seconds)s s") % {"seconds": whole}
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    return _("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}


def money(nano: int) -> str:
    """Return an amount in dollars, exact to the nano-dollar."""
    text = dollars(nano).decode()
    return f"${text}" if len(text.partition(".")[2]) > 1 else f"${text}0"
