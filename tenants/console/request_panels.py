"""Let apps above add panels to the page of a request: what was said, and who was told of it.

An app registers a function from its `apps.py`; none is asked for what the person may not see, each decides
that itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.utils.functional import Promise

from tenants.access.access import Access
from tenants.reports.request_detail import RequestDetail


@dataclass(frozen=True, slots=True)
class RequestPanel:
    """A panel: its heading, the template of what is in it, and that template's variables."""

    title: str | Promise
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)


# Of who asks, the request, and the address below which the API is served.
PanelMaker = Callable[[Access, RequestDetail, str], "RequestPanel | None"]
Maker = TypeVar("Maker", bound=PanelMaker)
_makers: list[PanelMaker] = []


def request_panel(maker: Maker) -> Maker:
    """Register a function that makes a panel, or None where there is nothing to show; as a decorator."""
    if maker not in _makers:
        _makers.append(maker)
    return maker


def panels_of(who: Access, detail: RequestDetail, base_url: str) -> list[RequestPanel]:
    """Return the panels of a request in the order in which they were registered."""
    made = (maker(who, detail, base_url) for maker in _makers)
    return [panel for panel in made if panel is not None]
