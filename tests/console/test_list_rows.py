"""Rows of lists are written as the theme writes them, but for the classes and labels that are ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import reverse

from gateway_project.lib import clock
from tenants import theme
from tenants.console.list_rows import rows_of
from tenants.models import ConsoleSession
from tenants.templatetags.lists import lean
from tests.console.pages import url
from tests.console.world import World

pytestmark = pytest.mark.django_db

ASKED = ("", "?_popup=1", "?o=1.-2&tenant=ours&period=7d")


def changelist(model: Any, query: str, user: User) -> Any:
    page = django_admin.site._registry[model]
    request = RequestFactory().get(f"{url(model, 'changelist')}{query}")
    request.user, request.session = user, {}  # type: ignore[assignment]
    return page.get_changelist_instance(request)


def test_every_list_has_the_cells_that_the_theme_would_write(world: World) -> None:
    root = User.objects.create_superuser("<root> & co")
    seen, differing = 0, []
    for number, model in enumerate(django_admin.site._registry):
        listed = changelist(model, ASKED[number % len(ASKED)], root)
        headers = list(theme.result_headers(listed))
        ours = list(rows_of(listed, headers))
        theirs = ["".join(f"{lean(cell)}\n" for cell in row) for row in theme.results_of(listed)]
        seen += len(ours)
        differing += [
            (model, *pair) for pair in zip(ours, theirs, strict=True) if len(set(pair)) > 1
        ]

    assert differing == []
    assert seen > len(django_admin.site._registry)


def test_links_of_keys_that_an_address_cannot_hold_as_they_are_lead_to_their_row(
    world: World,
) -> None:
    root = User.objects.create_superuser("operator")
    ConsoleSession.objects.create(
        pk="a/b_c", user=root, session_data="", expire_date=clock.now() + timedelta(days=1)
    )
    listed = changelist(ConsoleSession, "?period=7d", root)

    rows = "".join(rows_of(listed, list(theme.result_headers(listed))))

    address = reverse("admin:tenants_consolesession_change", args=("a_2Fb_5Fc",))
    assert f'href="{address}?_changelist_filters=period%3D7d&amp;period=7d"' in rows
