"""Define what the gateway must know of an upstream protocol: one value per protocol.

Each folder beside this one exports its value as `PROTOCOL`; `routing.protocols.PROTOCOLS` lists them. Nothing
outside a protocol's folder may ask which protocol it has: what differs is a field here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway_project.lib.errors import UpstreamError
from gateway_project.lib.json import Json
from routing.protocols.shared import failures, fields
from routing.protocols.shared.deltas import Adapter
from routing.protocols.shared.parameters import Fate
from routing.protocols.shared.tools import Toolbox
from routing.protocols.shared.usage import Meter
from routing.route import ResolvedTarget
from tenants.token_classes import Usage


@dataclass(frozen=True, slots=True)
class Counter:
    """Count a request's tokens upstream: POST `body(canonical, target)` to `path`, then `read` the answer.

    `read` raises UpstreamMalformed if the answer holds no number.
    """

    path: str
    body: Callable[[Json, ResolvedTarget], Json]
    read: Callable[[bytes, ResolvedTarget], int]


def _data(page: Json) -> Any:
    return page.get("data")


def _single_page(page: Json) -> None:
    return None


@dataclass(frozen=True, slots=True)
class ModelList:
    """Read a provider's list of models, GET {base}{path}, page by page.

    `entries` gives a page's list of objects with an `id` (anything else is no list of models), `next_query`
    the query of the page after it, or None after the last.
    """

    path: str = "/models"
    query: Mapping[str, str | int] = field(default_factory=dict)
    entries: Callable[[Json], Any] = _data
    next_query: Callable[[Json], Mapping[str, str | int] | None] = _single_page


def _one_choice(body: Json) -> int:
    return 1


def _service_tier(body: Json) -> Any:
    return body.get("service_tier")


@dataclass(frozen=True, slots=True)
class UpstreamProtocol:
    """Say how an upstream is asked, and how its answers are read.

    Identity
      name                what provider rows, spools and sealed payloads call it; never changed
      label               what the console calls it
      path                the route that generates, below the provider's base URL
      headers             what every request carries beside the credential
      auth_kind           how a key usually travels (routing/upstream/auth.py)

    A generating request
      build               make a canonical request this protocol's body; raises BadRequest
      prepare             make a body that is in this protocol already fit to be sent; None where no client
                          format is this protocol
      parameters          the fate of each canonical parameter; one that is missing is refused
      knows_custom_tools  take custom and hosted tools as they are
      forms_by_tool       give structured answers as calls of a tool where the model has no format of its own
      manages_context     compact conversations upstream by `context_management`
      output_limit        read the most output tokens a body allows; None if it does not say
      choices             read how many answers a body asks for
      service_tier        read the service tier a body asks for; None for the usual one
      window_percent      how much of a model's window our own token count may fill

    Its answer
      adapter             make what turns the answer to one call into deltas
      meter               make what reads the usage of one call
      read_usage          take one usage report apart
      read_failure        turn an HTTP answer that is not 200 into an error: status, body, Retry-After

    Beside the calls
      probe               make the smallest body for a check: target, prompt, output limit
      answer_list         the list that every whole answer has; empty: any object is taken for an answer
      models              read the list of models
      counter             count tokens upstream; None where the protocol has no such route
    """

    name: str
    label: str
    path: str
    build: Callable[[Json, Toolbox, ResolvedTarget], Json]
    parameters: Mapping[str, Fate]
    adapter: Callable[[ResolvedTarget], Adapter]
    meter: Callable[[], Meter]
    read_usage: Callable[[Json], Usage]
    probe: Callable[[ResolvedTarget, str, int], Json]
    prepare: Callable[[Json, ResolvedTarget], Json] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth_kind: str = "bearer"
    knows_custom_tools: bool = False
    forms_by_tool: bool = False
    manages_context: bool = False
    output_limit: Callable[[Json], int | None] = fields.output_limit
    choices: Callable[[Json], int] = _one_choice
    service_tier: Callable[[Json], Any] = _service_tier
    window_percent: int = 90
    read_failure: Callable[[ResolvedTarget, int, bytes, str], UpstreamError] = failures.of_response
    answer_list: str = ""
    models: ModelList = field(default_factory=ModelList)
    counter: Counter | None = None

    def toolbox(self, canonical: Json, target: ResolvedTarget) -> Toolbox:
        """Read a canonical request's tools. Raises BadRequest."""
        return Toolbox.of(canonical, target if self.forms_by_tool else None)
