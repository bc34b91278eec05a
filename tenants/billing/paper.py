"""Draw the told document as PDF, in the PDF's own fonts, so that no font has to be shipped."""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_WIDTHS = (96, 34, 30, 30)
_PAGE_WIDTH = 190
Spell = Callable[[str], str]
# Letters and signs that Latin-1 has not, and no mark can be taken off.
_SPELT = str.maketrans(
    {
        "\u20ac": "EUR",
        "\u2013": "-",
        "\u2014": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u0131": "i",
        "\u0142": "l",
        "\u0141": "L",
        "\u0111": "d",
        "\u0110": "D",
        "\u0153": "oe",
        "\u0152": "OE",
    }
)


def plain(told: Mapping[str, Any]) -> bytes:
    """Draw a document of format 1. Its bytes must stay what they are."""
    page = _begin(told, _latin)
    _title(page, told, _latin)
    for text in told["about"]:
        page.cell(0, 6, _latin(text), new_x="LMARGIN", new_y="NEXT")
    page.ln(4)
    _table(page, told, _latin)
    return bytes(page.output())


def addressed(told: Mapping[str, Any]) -> bytes:
    """Draw a document with issuer, customer, tax and notes."""
    page = _begin(told, spell)
    page.set_font("Helvetica", size=10)
    _texts(page, told["issuer"], align="R")
    page.ln(8 if told["issuer"] else 0)
    _texts(page, told["customer"])
    page.ln(8)
    _title(page, told, spell)
    _texts(page, told["about"])
    page.ln(4)
    _table(page, told, spell)
    for lines in told["notes"]:
        page.ln(5)
        page.set_font("Helvetica", size=9)
        _texts(page, lines)
    return bytes(page.output())


def spell(text: str) -> str:
    """Spell text in Latin-1: letters lose marks that it does not have, what is left over becomes `?`."""
    composed = unicodedata.normalize("NFC", text)  # some programs write letters and marks apart
    return "".join(_spell_one(each) for each in composed.translate(_SPELT))


def _spell_one(letter: str) -> str:
    if letter.isascii() or letter <= "\u00ff":
        return letter if letter.isprintable() else " "
    if unicodedata.combining(letter):
        return ""
    return _latin(unicodedata.normalize("NFKD", letter)[:1])


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _begin(told: Mapping[str, Any], spelt: Spell) -> Any:
    # Only where one is wanted: it brings an imaging library along.
    page = importlib.import_module("fpdf").FPDF(format="A4")
    page.set_creation_date(told["finalized_at"])
    page.set_title(spelt(told["title"]))
    page.add_page()
    return page


def _title(page: Any, told: Mapping[str, Any], spelt: Spell) -> None:
    page.set_font("Helvetica", "B", 16)
    page.cell(0, 10, spelt(told["title"]), new_x="LMARGIN", new_y="NEXT")
    page.set_font("Helvetica", size=10)


def _texts(page: Any, texts: Iterable[str], align: str = "L") -> None:
    for text in texts:
        page.multi_cell(_PAGE_WIDTH, 5, spell(text), align=align, new_x="LMARGIN", new_y="NEXT")


def _table(page: Any, told: Mapping[str, Any], spelt: Spell) -> None:
    page.set_font("Helvetica", "B", 9)
    _row(page, told["headings"], spelt)
    page.set_font("Helvetica", size=9)
    for line in told["lines"]:
        _row(page, (line["text"], line["quantity"], line["exact"], line["amount"]), spelt)
    page.set_font("Helvetica", "B", 9)
    for name, amount in told["totals"]:
        _row(page, (name, "", "", amount), spelt)


def _row(page: Any, texts: Sequence[Any], spelt: Spell) -> None:
    for place, (width, text) in enumerate(zip(_WIDTHS, texts, strict=True)):
        shown = spelt(str(text))
        while page.get_string_width(shown) > width - 3:
            shown = f"{shown[:-4]}..."
        page.cell(width, 6, shown, align="L" if place == 0 else "R")
    page.ln(6)
