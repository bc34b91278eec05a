"""Pictures of what the browser shows: `make e2e` leaves them in var/e2e for people to look at.

In CI, where nobody does, they are taken of what fails alone: one costs as much as to open its page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

PLACE = Path("var/e2e")
IS_CI = "CI" in os.environ


def take(page: Page, name: str, *, is_whole: bool = False, has_failed: bool = False) -> None:
    """Keep a picture of the window, or of the whole page."""
    if IS_CI and not has_failed:
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PLACE / f"{name}.png", full_page=is_whole)
