"""Say in words how far a purge of stored things is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.text import capfirst, get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from tenants.console import drawing
from tenants.models import LongTask

KINDS: Mapping[str, str | Promise] = {
    "response": gettext_lazy("stored responses"),
    "conversation": gettext_lazy("conversations"),
    "completion": gettext_lazy("chat completions"),
}
_COUNTED = {
    "response": ngettext_lazy("%(count)s response", "%(count)s responses", "number"),
    "conversation": ngettext_lazy("%(count)s conversation", "%(count)s conversations", "number"),
    "completion": ngettext_lazy(
        "%(count)s chat completion", "%(count)s chat completions", "number"
    ),
}


def asked(task: LongTask, zone: ZoneInfo) -> str:
    """Return what was asked for, in short."""
    given = task.parameters
    before = drawing.instant(datetime.fromisoformat(given["before"]), zone)
    kinds = get_text_list([str(KINDS[kind]) for kind in given["kinds"]], _("and"))
    return capfirst(_("%(kinds)s from before %(before)s") % {"kinds": kinds, "before": before})


def proposal(task: LongTask) -> str:
    """Return what would be deleted."""
    text = ngettext(
        "%(what)s would be deleted for good.",
        "%(what)s would be deleted for good.",
        task.expected or 0,
    )
    return text % {"what": _told(task.result["found"])}


def running(task: LongTask) -> str:
    if not task.place.get("is_confirmed"):
        return _("What is stored is being counted. Nothing is deleted yet.")
    told = {"done": _count(task.done), "expected": _count(task.expected or 0)}
    return _("%(done)s of %(expected)s are deleted.") % told


def done(task: LongTask) -> str:
    if not any(task.result["found"].values()):
        return _("There was nothing to delete: nothing of this was stored before then.")
    deleted = task.result["deleted"]
    text = ngettext("%(what)s was deleted.", "%(what)s were deleted.", sum(deleted.values()))
    return text % {"what": _told(deleted)}


def cancelled(task: LongTask) -> str:
    deleted = task.result.get("deleted", {})
    if not (count := sum(deleted.values())):
        return _("It was cancelled. Nothing was deleted.")
    text = ngettext(
        "It was cancelled. %(what)s had been deleted by then.",
        "It was cancelled. %(what)s had been deleted by then.",
        count,
    )
    return text % {"what": _told(deleted)}


def _told(counts: Mapping[str, int]) -> str:
    """Return counts by kind as a list in words, those of which there is nothing left out."""
    parts = [
        str(words % {"number": count, "count": _count(count)})
        for kind, words in _COUNTED.items()
        if (count := counts.get(kind, 0))
    ]
    return str(get_text_list(parts, _("and")))


def _count(count: int) -> str:
    return number_format(count, 0, force_grouping=True)
