"""Show secrets in the very response that made them, once: a message would keep them in a cookie or the
session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:  # Django 5.2 cannot subscript it when it runs
    _Page = admin.ModelAdmin[Any]
else:
    _Page = object

Text = str | Promise
ONLY_A_DIGEST = gettext_lazy(
    "Only its digest is kept: it cannot be shown again. Do not reload this page."
)


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A row, what is shown of it this once, and a word on it."""

    row: Model
    shown: str
    note: str = ""


def show_once(
    page: _Page,
    request: HttpRequest,
    issued: Sequence[ShownOnce],
    *,
    title: Text,
    kind: Text,
    warning: Text = ONLY_A_DIGEST,
    note_title: Text = "",
) -> HttpResponse:
    """Return the page of what was issued. `kind` names it; `note_title` is the column of the notes."""
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "opts": page.opts,
        "issued": issued,
        "kind": kind,
        "warning": warning,
        "note_title": note_title,
        "has_notes": any(each.note for each in issued),
    }
    return TemplateResponse(request, "console/shown_once.html", context)
