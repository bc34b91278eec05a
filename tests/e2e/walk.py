"""Look at pages of the console as a browser shows them: what complains, what is too wide, what axe finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.plugins.tiers import SEED, by_tier

if TYPE_CHECKING:
    from playwright.sync_api import Page

View = tuple[str, str]  # a width and the colours
# Dear, so each page is seen in one of them a run; the proof sees all.
OTHER_VIEWS: tuple[View, ...] = (("wide", "dark"), ("narrow", "light"))
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SERIOUS = {"serious", "critical"}
WIDTHS = {"wide": (1280, 800), "narrow": (390, 800)}
# Every page with all rules once; what differs in the dark is what is seen of it.
RUN = """
async (rules) => {
    const options = rules ? { runOnly: { type: "rule", values: rules } } : {};
    const found = await axe.run(document, { ...options, resultTypes: ["violations"] });
    return found.violations.map((each) => ({
        id: each.id, impact: each.impact, places: each.nodes.map((node) => node.target.join(" ")),
    }));
}
"""
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def look(page: Page, picture: Path | None = None, more: Sequence[View] = ()) -> list[str]:
    """Return what is wrong with the open page: wide and light, narrow and dark, and in `more` views."""
    wrong = []
    for view, colours in (("wide", "light"), ("narrow", "dark"), *more):
        page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]  # one of its literals
        page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[view], strict=True)))  # type: ignore[arg-type]
        if page.evaluate(OVERHANG) > 0:
            wrong.append(f"{view}: it scrolls sideways")
        rules = None if colours == "light" else ["color-contrast"]
        wrong += [f"{view}, {colours}: {_told(each)}" for each in _findings(page, rules)]
        if picture is not None:
            page.screenshot(path=picture.with_name(f"{picture.name}-{view}-{colours}.png"))
    return wrong


def other_views(number: int) -> Sequence[View]:
    """Return the other views in which a page is looked at in this run, by its number."""
    one = OTHER_VIEWS[(SEED + number) % len(OTHER_VIEWS)]
    return by_tier(default=(one,), ci=(one,), proof=OTHER_VIEWS)


def _findings(page: Page, rules: list[str] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(RUN, rules)
    return [each for each in found if each["impact"] in SERIOUS]


def _told(finding: dict[str, Any]) -> str:
    places = "; ".join(finding["places"][:3])
    return f"{finding['id']} ({finding['impact']}) at {places}"
