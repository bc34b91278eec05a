"""Say in words how far a task is, and what came of it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tenants.console import drawing, purge_words
from tenants.long_work.asking import MOST_FILE_BYTES
from tenants.long_work.running import TOO_LARGE
from tenants.models import LongTask

State, Kind = LongTask.State, LongTask.Kind
KINDS = {
    State.QUEUED: "idle",
    State.RUNNING: "idle",
    State.WAITING: "warn",
    State.DONE: "good",
    State.FAILED: "bad",
    State.CANCELLED: "idle",
}


def badge(task: LongTask) -> SafeString:
    kind = KINDS[State(task.state)]
    return format_html(
        '<span class="tg-badge tg-badge--{}">{}</span>', kind, task.get_state_display()
    )


def percent(task: LongTask) -> int:
    """Return how far it is; 0 while it is not known how much there is."""
    if task.state == State.DONE:
        return 100
    return min(100, 100 * task.done // task.expected) if task.expected else 0


def progress(task: LongTask, zone: ZoneInfo) -> str:
    """Return the sentence about a task as it stands."""
    match task.state:
        case State.QUEUED:
            return _("It waits for its turn.")
        case State.RUNNING:
            return _running(task)
        case State.WAITING:
            return proposal(task)
        case State.FAILED:
            return _failed(task)
        case State.CANCELLED:
            return _cancelled(task)
    return _done(task, zone)


def proposal(task: LongTask) -> str:
    """Return what would change, of a task that waits to be confirmed."""
    if task.kind == Kind.PURGE:
        return purge_words.proposal(task)
    told = task.result
    text = ngettext(
        "%(count)s request would be charged %(after)s instead of %(before)s: %(change)s.",
        "%(count)s requests would be charged %(after)s instead of %(before)s: %(change)s.",
        told["changed"],
    )
    changed = text % _sums(told["changed"], told["before_nano"], told["after_nano"])
    return f"{changed} {_left(told['left'])}".strip()


def asked(task: LongTask, zone: ZoneInfo) -> str:
    """Return what was asked for, in short."""
    if task.kind == Kind.PURGE:
        return purge_words.asked(task, zone)
    given = task.parameters
    start, end = (
        drawing.instant(datetime.fromisoformat(given[name]), zone) for name in ("start", "end")
    )
    parts = [f"{start} \N{EN DASH} {end}"]
    if task.kind == Kind.RERATING:
        number = _("price version %(number)s of %(subject)s")
        parts.append(number % {"number": given["version"], "subject": given["subject"]})
        parts += [_("with unpriced requests")] if given["with_unpriced"] else []
        parts.append(f"“{given['reason']}”")
    else:
        parts += [_("alias %(alias)s") % {"alias": given["alias"]}] if given["alias"] else []
        parts.append("CSV" if given["format"] == "csv" else "JSON Lines")
    return " · ".join(parts)


def size(count: int) -> str:
    return filesizeformat(count)


def _count(count: int) -> str:
    return number_format(count, 0, force_grouping=True)


def _sums(count: int, before: int, after: int) -> dict[str, str]:
    change = drawing.money(after - before)
    return {
        "count": _count(count),
        "before": drawing.money(before),
        "after": drawing.money(after),
        "change": f"+{change}" if after > before else change,
    }


def _done(task: LongTask, zone: ZoneInfo) -> str:
    match task.kind:
        case Kind.RERATING:
            return _rerated(task)
        case Kind.PURGE:
            return purge_words.done(task)
    return _exported(task, zone)


def _running(task: LongTask) -> str:
    if task.kind == Kind.PURGE:
        return purge_words.running(task)
    if task.expected is None:
        return _("Rows are being counted.")
    told = {"done": _count(task.done), "expected": _count(task.expected)}
    if task.kind == Kind.USAGE_EXPORT:
        return _("%(done)s of %(expected)s rows are written.") % told
    if not task.place.get("is_confirmed"):
        return _("%(done)s of %(expected)s requests were looked at. Nothing has changed.") % told
    text = _("%(done)s of %(expected)s requests were looked at, %(written)s are charged anew.")
    return text % {**told, "written": _count(task.result.get("written", 0))}


def _left(count: int) -> str:
    if not count:
        return ""
    text = ngettext(
        "%(count)s more stays as it is: the cache answered it, a budget did not pay all of it, "
        "nothing came of it, or it was corrected too often.",
        "%(count)s more stay as they are: the cache answered them, a budget did not pay all of them, "
        "nothing came of them, or they were corrected too often.",
        count,
    )
    return text % {"count": _count(count)}


def _rerated(task: LongTask) -> str:
    told = task.result
    if not told.get("changed"):
        nothing = _("Nothing would change: no request would be charged another amount.")
        return f"{nothing} {_left(told.get('left', 0))}".strip()
    text = ngettext(
        "%(count)s request is charged %(after)s instead of %(before)s: %(change)s.",
        "%(count)s requests are charged %(after)s instead of %(before)s: %(change)s.",
        told["written"],
    )
    sums = _sums(told["written"], told["written_before_nano"], told["written_after_nano"])
    invoiced = _("What concerns months that are invoiced already is on the next invoice.")
    return f"{text % sums} {invoiced}"


def _exported(task: LongTask, zone: ZoneInfo) -> str:
    if not task.has_file:
        return _("Its file is erased.")
    assert task.expires_at is not None
    text = ngettext(
        "%(count)s row, %(size)s. The file is erased on %(until)s.",
        "%(count)s rows, %(size)s. The file is erased on %(until)s.",
        task.done,
    )
    until = drawing.instant(task.expires_at, zone)
    return text % {"count": _count(task.done), "size": size(task.bytes), "until": until}


def _failed(task: LongTask) -> str:
    if task.error == TOO_LARGE:
        text = _("The file would be larger than %(size)s. Ask for a shorter time, or one alias.")
        return text % {"size": size(MOST_FILE_BYTES)}
    return _("It failed several times and was given up; the log of the server says why.")


def _cancelled(task: LongTask) -> str:
    if task.kind == Kind.PURGE:
        return purge_words.cancelled(task)
    if written := task.result.get("written", 0):
        text = ngettext(
            "It was cancelled. %(count)s request had been charged anew by then, and stays so.",
            "It was cancelled. %(count)s requests had been charged anew by then, and stay so.",
            written,
        )
        return text % {"count": _count(written)}
    return _("It was cancelled.")
