"""Look at pages of the console as a browser shows them: what complains, what is too wide, what axe finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e import pictures
from tests.plugins.tiers import SEED, by_tier

if TYPE_CHECKING:
    from playwright.sync_api import Page

View = tuple[str, str]  # a width and the colours
VIEWS: tuple[View, ...] = (
    ("wide", "light"),
    ("narrow", "dark"),
    ("narrow", "light"),
    ("wide", "dark"),
)
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SERIOUS = {"serious", "critical"}
WIDTHS = {"wide": (1280, 800), "narrow": (390, 800)}
# A page with all rules once; what differs in other views is what is seen of it.
RUN = """
async (rules) => {
    const options = rules ? { runOnly: { type: "rule", values: rules } } : {};
    const found = await axe.run(document, { ...options, resultTypes: ["violations"] });
    return found.violations.map((each) => ({
        id: each.id, impact: each.impact, places: each.nodes.map((node) => node.target.join(" ")),
    }));
}
"""
REDRAWN = 50  # looks, five a second
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def look(page: Page, picture: str = "", number: int = 0) -> list[str]:
    """Return what is wrong with the open page: at both widths, and what axe finds."""
    wrong = []
    views = views_of(number)
    page.evaluate(f"() => {{ {AXE.read_text()} }}")
    for place, (width, colours) in enumerate(views):
        _show(page, width, colours)
        if not fits(page):
            wrong.append(f"{width}: it scrolls sideways")
        rules = ["color-contrast"] if place else None
        wrong += [f"{width}, {colours}: {_told(each)}" for each in _findings(page, rules)]
        if picture:
            pictures.take(page, f"{picture}-{width}-{colours}")
    for width in WIDTHS.keys() - {seen for seen, _ in views}:
        _show(page, width, views[-1][1])
        if not fits(page):
            wrong.append(f"{width}: it scrolls sideways")
    return wrong


def _show(page: Page, width: str, colours: str) -> None:
    page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]  # one of its literals
    page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))  # type: ignore[arg-type]


def fits(page: Page) -> bool:
    """Tell whether a page is no wider than its window. Charts follow a new width a little later."""
    for _ in range(REDRAWN):
        if page.evaluate(OVERHANG) <= 0:
            return True
        page.wait_for_timeout(200)
    return False


def views_of(number: int) -> Sequence[View]:
    """Return the views in which axe looks at the page of this number: in one, since it is dear, which the
    seed chooses, in the proof in all."""
    some = (VIEWS[(SEED + number) % len(VIEWS)],)
    return by_tier(default=some, ci=some, proof=VIEWS)


def _findings(page: Page, rules: list[str] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(RUN, rules)
    return [each for each in found if each["impact"] in SERIOUS]


def _told(finding: dict[str, Any]) -> str:
    places = "; ".join(finding["places"][:3])
    return f"{finding['id']} ({finding['impact']}) at {places}"
