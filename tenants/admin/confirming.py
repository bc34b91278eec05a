"""The page that asks before an action is taken on the rows chosen in a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

# The page sends back the id of each, and Django takes no more than 1000 fields.
MAX_CHOSEN = 500


def is_confirmed(request: HttpRequest) -> bool:
    """Tell whether the person has seen the page and confirmed."""
    return "post" in request.POST


def ask(
    page: admin.ModelAdmin[Any],
    request: HttpRequest,
    template: str,
    chosen: Sequence[Model],
    **shown: Any,
) -> HttpResponse | None:
    """Return the confirmation page; None, and a message in the list, if too many rows were chosen.

    The page posts the same action again, with the ids of exactly the rows it shows.
    """
    name = str(page.opts.verbose_name if len(chosen) == 1 else page.opts.verbose_name_plural)
    if len(chosen) > MAX_CHOSEN:
        text = (
            f"Nothing was done: {len(chosen)} {name} are too many for one action; "
            f"choose at most {MAX_CHOSEN}."
        )
        page.message_user(request, text, messages.ERROR)
        return None
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "action": request.POST.get("action"),
        "chosen": chosen,
        "counted": f"{len(chosen)} {name}",
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
        "media": page.media,
        **shown,
    }
    return TemplateResponse(request, template, context)
