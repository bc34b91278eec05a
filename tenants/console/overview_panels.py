"""Let apps above add panels to the console's first page: what is running, how upstreams are.

An app registers a function where its pages are; each decides itself what the person may see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.http import HttpRequest
from django.utils.functional import Promise

from tenants.console.scope import Scope


@dataclass(frozen=True, slots=True)
class OverviewPanel:
    """A panel: its heading, the template of what is in it, and that template's variables."""

    title: str | Promise
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)


PanelMaker = Callable[[HttpRequest, Scope], "OverviewPanel | None"]
Maker = TypeVar("Maker", bound=PanelMaker)
_makers: list[PanelMaker] = []


def overview_panel(maker: Maker) -> Maker:
    """Register a function that makes a panel, or None where there is nothing to show; as a decorator."""
    if maker not in _makers:
        _makers.append(maker)
    return maker


def panels_of(request: HttpRequest, scope: Scope) -> list[OverviewPanel]:
    """Return the panels of the first page in the order in which they were registered."""
    made = (maker(request, scope) for maker in _makers)
    return [panel for panel in made if panel is not None]
