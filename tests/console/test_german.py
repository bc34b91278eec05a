"""The German console is German: catalogue, compiled catalogue and pages agree, and nothing is left out."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import translation

from gateway_project import model_words
from tenants.audit import values
from tenants.console import drawing, pages
from tenants.models import Invoice
from tenants.reports import charts
from tenants.templatetags import figures
from tests.console.pages import KEPT_BY_US, WRITTEN_BY_US, text, url
from tests.console.world import World
from tests.plugins.tiers import sampled
from tests.support import catalogues

pytestmark = pytest.mark.django_db

GERMAN = {"accept-language": "de"}
CATALOGUE = Path(model_words.__file__).parent / "locale" / "de" / "LC_MESSAGES" / "django"
PLACEHOLDER = re.compile(r"%\(\w+\)[.\d]*[a-z]|%%|\{\w*\}")
TAG = re.compile(r"<[^>]*>")
# What is a name here, of a protocol, and a word elsewhere.
VALUES = frozenset({"Responses"})
# Rights, roles and columns have such names, which pages show as they are.
NAME = re.compile("[a-z]+")
READ = ("title", "placeholder", "aria-label", "alt")
UNREAD = ("script", "style", "code", "pre", "svg")


class Words(HTMLParser):
    """Collects what a page says: its texts, and the attributes that are read out or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unread += tag in UNREAD
        symbols = any("material-symbols" in (value or "") for _, value in attrs)
        self._symbol = symbols
        for name, value in attrs:
            if name in READ and value:
                self._add(value)

    def handle_endtag(self, tag: str) -> None:
        self._unread -= tag in UNREAD
        self._symbol = False

    def handle_data(self, data: str) -> None:
        if not self._unread and not getattr(self, "_symbol", False):
            self._add(data)

    def _add(self, said: str) -> None:
        self.found.add(" ".join(said.split()))


def said_on(page: Any) -> set[str]:
    words = Words()
    words.feed(text(page))
    return words.found - {""}


def addresses(world: World) -> Iterator[str]:
    for page in pages.registered():
        if "<" not in page.path:
            yield reverse(f"admin:{page.name}")
    for model in admin.site._registry:
        yield url(model, "changelist")
        if model not in WRITTEN_BY_US:
            yield url(model, "add")
    for side in (world.ours, world.platform):
        for row in side.rows():
            if not isinstance(row, Invoice):  # shows the lines of an English document
                yield url(row, "change")
            yield url(row, "history")
            if type(row) not in KEPT_BY_US:
                yield url(row, "delete")
    yield from (reverse(name) for name in ("mfa_index", "console_sessions", "second_factor"))


def known_in_english() -> set[str]:
    """Return the messages that German says in other words."""
    return {
        " ".join(each.message.split())
        for each in entries()
        if "%(" not in each.message
        if each.message not in each.said and not NAME.fullmatch(each.message)
    }


def entries() -> list[catalogues.Entry]:
    return catalogues.read_po(CATALOGUE.with_suffix(".po"))[1:]


# The catalogue


def test_every_marked_text_is_in_the_catalogue_and_none_is_left_untranslated():
    known = {(each.message, each.plural) for each in entries()}
    messages = {message for message, _ in known}
    texts = list(catalogues.marked())
    assert len(texts) > 1_500  # the search finds what is there
    for place, message, plural in texts:
        told = f"{place}: {message!r} is not in the catalogue; run makemessages (CONTRIBUTING.md)."
        # One message may stand with and without a plural.
        assert message in messages, told
        assert not plural or (message, plural) in known, told
    for each in entries():
        assert all(each.said), f"{each.message!r} has no German."
        assert not each.is_fuzzy, f"{each.message!r} is fuzzy: look at its German."
        assert len(each.said) == (2 if each.plural else 1), each.message


def test_translations_have_the_placeholders_of_their_messages():
    for each in entries():
        for number, said in enumerate(each.said):
            message = each.plural if number else each.message
            assert placeholders(said) == placeholders(message), each.message
            # What a template marks stands between tags: no translation brings others.
            assert sorted(TAG.findall(said)) == sorted(TAG.findall(message)), each.message


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


def test_the_compiled_catalogue_is_that_of_the_source():
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for each in entries():
        told = f"{each.message!r} is not compiled as it is; run compilemessages (CONTRIBUTING.md)."
        if each.plural:
            said = [compiled.ngettext(each.message, each.plural, number) for number in (1, 2)]
            assert said == each.said, told
        else:
            assert [compiled.gettext(each.message)] == each.said, told


def test_names_that_django_derives_are_marked_where_pages_show_them():
    marked = set(model_words.DERIVED)
    messages = {each.message for each in entries()}
    for model, page in admin.site._registry.items():
        if model._meta.app_label == "auth":
            continue
        options = model._meta
        names = {options.verbose_name, options.verbose_name_plural}
        listed = {name for name in page.list_display if isinstance(name, str)}
        names |= {each.verbose_name for each in options.fields if each.name in listed}
        left = {str(name) for name in names} - marked - messages
        with translation.override("de"):  # Django's own have Django's German
            assert not left & {str(name) for name in names}, model


# The pages


def test_no_page_says_in_english_what_german_has_a_word_for(world: World, operator: Client):
    english = known_in_english() - VALUES - {said for each in entries() for said in each.said}
    seen: set[str] = set()
    pages = sampled(list(addresses(world)), default=25, ci=60)
    for address in (reverse("admin:index"), *pages):
        page = operator.get(address, headers=GERMAN, follow=True)
        if page.status_code == 405:
            continue  # takes what a script sends
        assert page.status_code == 200, address
        if not page["Content-Type"].startswith("text/html"):
            continue  # files are for programs
        assert '<html lang="de"' in text(page), address
        said = said_on(page)
        assert not said & english, (address, sorted(said & english))
        seen |= said
    for word in ("Übersicht", "Schlüssel", "Anbieter", "Verbrauch", "Abrechnung", "Abmelden"):
        assert word in seen, word


def test_numbers_are_written_as_in_german_and_values_for_programs_are_not(
    world: World, operator: Client
):
    with translation.override("de"):
        assert figures.dollars(1_234_560_000_000) == "$1.234,56"
        assert figures.count(1_234_567) == "1.234.567"
        assert drawing.money(1_234_567_890_000) == "$1.234,57"
        bars = (charts.Bar("", "", (1_234_500_000_000,)),)
        drawn = figures.bar_rows(charts.Chart("", "nano", (), bars, 0), "")
        assert '<td data-value="1234.5">$1.234,50' in drawn
    address = f"{reverse('admin:usage_csv')}?period=90d"
    german, plain = (
        b"".join(operator.get(address, headers=each).streaming_content)  # type: ignore[attr-defined]
        for each in (GERMAN, {})
    )
    assert german == plain
    assert plain.count(b"\n") > 1


def test_the_audit_log_is_english_whoever_acts(world: World):
    with translation.override("de"):
        assert values.text(Invoice.Kind.CREDIT_NOTE.label) == "Credit note"
        assert translation.get_language() == "de"
