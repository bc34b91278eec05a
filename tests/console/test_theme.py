"""The console's theme is used as far as it is safe, and its new versions are looked at before they are."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.contrib import admin as django_admin
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError

from gateway_project.apps import check_site
from tenants import theme
from tenants.admin.keys import ApiKeyAdmin
from tenants.console.scoped_admin_checks import faults
from tenants.models import ApiKey

ROOT = Path(__file__).resolve().parents[2]
ORIGINALS = files("unfold") / "templates"
OURS = ROOT / "templates"
# Of the theme's templates that ours replace. One that differs has changed: look at what did, take over what
# is worth it, and write its new sum here.
REPLACED = {
    "admin/base.html": "2ce9250b3c649e3a1d3c7ea52308a2858c60374b76089c29a838c7cc870dbcf0",
    "admin/base_site.html": "50eb1e71a0b2729ca7ff280934828eecc42d0c526e1effbeafcdfe9b3695637d",
    "admin/change_form.html": "e9824d4d8a447d9741a1fe4a83180042ac11383bd51678e2b5e40460fa42d86a",
    "admin/change_form_object_tools.html": "3238ce11ac58a883b006cd6ac68b30aa534bdce64dcff05fc1c08a5828206d31",
    "admin/change_list_results.html": "1a2a072727ae72f9f6306a7f27c0df2dd73ea42408353a0eae462db377d83d76",
    "admin/delete_confirmation.html": "d2f1e1adb500396f025df904076d09a00f6a579c516f26f9c467358e959cacde",
    "admin/delete_selected_confirmation.html": (
        "a984df47ec4909b34cb49a904fb5260fc0222c729bd1da552de9e57b133a1904"
    ),
    "admin/index.html": "9fdb849b7da18ccde0e5dda1923465830718700726570ea70554bffe1f012115",
    "admin/object_history.html": "276be0d3eb1c5eaac8b7129344041e22d7350bc4abcb789db25e912a17a61ae6",
    "admin/submit_line.html": "7a195a7b8beeda119f5cd1364303442bb18f964bb7a086ade6e4ab9bc13e8c18",
    "unfold/helpers/add_link.html": "36cc86e42047e0124a74dbfc07758c364edab0e83eeed1dc56e6fe2e9a99f2e9",
    "unfold/helpers/empty_results.html": "5f4727a37a99da76e245048c8c7d7307ded9fe749533b33410e38657a9b1ef7e",
    "unfold/helpers/edit_inline/inline_add.html": (
        "e8bc669caf9a426b74c35732316c9d10001665e0b676972ba8221231234833d3"
    ),
    "unfold/helpers/field_readonly_value.html": (
        "a1d46fa2a26e344130fb2675e1395a602d79f6244a4e05f3a19c976dfa9a2454"
    ),
    "unfold/helpers/fieldset_row.html": "2eb8a8acf2d7538566aacb635f5a017374f8f47f026e10ab471c10ed87d44a42",
    "unfold/helpers/pagination_default.html": (
        "a6c793aea686e443a7fc8a42cb4197361b7789c912919609e2525aa1c65e23a0"
    ),
}
ALPINE = "0d18d7f8d7910e2e0212f0f056b12f50bebc3abb7d88d2f7c7cb4c336fe4519a"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_originals_of_templates_that_ours_replace_are_those_we_looked_at() -> None:
    ours = {path.relative_to(OURS).as_posix() for path in OURS.rglob("*.html")}
    theirs = {name for name in ours if (ORIGINALS / name).is_file()}

    assert {name: digest((ORIGINALS / name).read_bytes()) for name in theirs} == REPLACED


def test_alpine_is_the_build_that_its_licence_names() -> None:
    vendor = ROOT / "tenants" / "static" / "console" / "vendor"

    assert digest((vendor / "alpine-csp.js").read_bytes()) == ALPINE
    assert "3.17.4, unchanged" in (vendor / "LICENSE-alpine").read_text()


@pytest.mark.parametrize("name", theme.REFUSED)
def test_a_page_that_asks_for_what_the_theme_does_past_our_rules_is_refused(name: str) -> None:
    page = type("WithATrick", (ApiKeyAdmin,), {name: ("trick",)})(ApiKey, django_admin.site)

    assert "tenants.E006" in [fault.id for fault in faults(page)]


def test_a_site_that_is_not_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_site() == []

    monkeypatch.setattr(django_admin, "site", AdminSite())

    assert [fault.id for fault in check_site()] == ["gateway_project.E001"]


def test_a_page_keeps_nothing_of_a_request(db: None, operator: Any) -> None:
    page = django_admin.site._registry[ApiKey]
    before = set(vars(page))

    operator.get("/console/tenants/apikey/")

    assert set(vars(page)) == before


class Lines(forms.Form):
    lines = theme.LinesField(required=False, max_length=5)


def test_a_list_is_typed_one_a_line() -> None:
    form = Lines({"lines": " a \r\n\n b\nc "}, initial={"lines": ["a", "b", "c"]})

    assert form.is_valid()
    assert form.cleaned_data["lines"] == ["a", "b", "c"]
    assert not form.has_changed()
    assert "a\nb" in str(Lines(initial={"lines": ["a", "b"]})["lines"])
    assert not Lines({"lines": "a\ntoo long"}).is_valid()
    assert Lines({}).is_valid()


def test_money_is_typed_in_dollars_and_kept_in_whole_units() -> None:
    field, price = theme.DollarField(required=False), theme.DollarField(per_dollar=10**6)

    assert [field.clean(typed) for typed in ("12.5", "$0.000000001", "", " 3 ")] == [
        12_500_000_000,
        1,
        None,
        3_000_000_000,
    ]
    assert price.clean("2.50") == 2_500_000
    assert [field.prepare_value(kept) for kept in (12_500_000_000, 1, 0, 10**21)] == [
        "12.50",
        "0.000000001",
        "0.00",
        "1000000000000.00",
    ]
    for wrong in ("x", "-1", "1e-10", "0.0000000001", "nan", "inf", "9" * 30, "1e999999999"):
        with pytest.raises(ValidationError):
            field.clean(wrong)
    with pytest.raises(ValidationError, match="required"):
        price.clean("")
    assert field.has_changed(12_500_000_000, "12.51")
    assert not field.has_changed(12_500_000_000, "12.50")
