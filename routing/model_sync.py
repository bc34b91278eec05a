"""Take over a provider's own list of models as rows; nothing is ever removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials, side_calls
from routing.models import Credential, Provider, ProviderModel
from routing.protocols import PROTOCOLS
from routing.side_calls import NoAnswer, Reach

# Whoever may add a provider chooses what answers: how long somebody waits and how many rows it makes are
# bounded for the whole list, whatever its pages say.
MAX_PAGES = 50
MAX_SECONDS = 60.0
MAX_MODELS = 5_000
MAX_ID_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Synced:
    """The outcome of a sync, in upstream ids as the provider lists them."""

    added: list[str]
    existing: list[str]

    def __str__(self) -> str:
        names = f": {', '.join(self.added)}" if self.added else ""
        return f"{len(self.added)} added, {len(self.existing)} already there{names}"


@dataclass(frozen=True, slots=True)
class Listed:
    """The models that an upstream lists, each once, and how long its first page took."""

    ids: list[str]
    latency_ms: float


class NoModelList(Exception):
    """An upstream's models cannot be listed; the message says why, after the colon of a sentence.

    `is_forbidden`: the egress policy refused the address that the message names.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        latency_ms: float = 0.0,
        *,
        is_forbidden: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.latency_ms = latency_ms
        self.is_forbidden = is_forbidden


def sync(provider: Provider) -> Synced:
    """Ask GET {base}/models, all pages, and add a row for each new model.

    Raise ValidationError, and change nothing, if the list cannot be fetched.
    """
    try:
        listed = list_models(reach_of(provider))
    except NoModelList as none:
        raise ValidationError(
            {"provider": f"The models of {provider.name!r} cannot be listed: {none}."}
        ) from none
    return add_listed(provider, listed)


def reach_of(provider: Provider) -> Reach:
    """Return how the provider is called with the newest secret of its owner. Raise NoModelList."""
    return Reach(
        provider.protocol,
        provider.base_url,
        provider.auth_kind,
        _secret(provider),
        provider.allow_private_network,
    )


def list_models(reach: Reach) -> Listed:
    """Ask an upstream for its models. Raise NoModelList."""
    models = PROTOCOLS[reach.protocol].models
    query: Mapping[str, str | int] | None = models.query
    ids: dict[str, None] = {}
    first_ms: float | None = None
    started = clock.monotonic()
    for _ in range(MAX_PAGES):
        page, latency_ms = _page(reach, models.path, query or {})
        first_ms = latency_ms if first_ms is None else first_ms
        ids |= dict.fromkeys(_ids_of(models.entries(page)))
        if len(ids) > MAX_MODELS:
            raise NoModelList(f"it lists more than {MAX_MODELS:,} models")
        if (query := models.next_query(page)) is None:
            return Listed(list(ids), first_ms)
        if clock.monotonic() - started > MAX_SECONDS:
            raise NoModelList(f"its list of models does not end within {MAX_SECONDS:g} seconds")
    raise NoModelList(f"its list of models does not end after {MAX_PAGES} pages")


@transaction.atomic
def add_listed(provider: Provider, listed: Listed) -> Synced:
    """Add a row for each listed model that has none."""
    ids = listed.ids
    # Whoever adds a model of this provider meanwhile waits for us, or we for them.
    Provider.objects.select_for_update().get(pk=provider.pk)
    known = set(provider.provider_models.values_list("upstream_id", flat=True))
    added = [upstream_id for upstream_id in ids if upstream_id not in known]
    ProviderModel.objects.bulk_create(
        [ProviderModel(provider=provider, upstream_id=upstream_id) for upstream_id in added]
    )
    return Synced(added, [upstream_id for upstream_id in ids if upstream_id in known])


def _page(reach: Reach, path: str, query: Mapping[str, str | int]) -> tuple[dict[str, Any], float]:
    try:
        answer = side_calls.ask(reach, "GET", path, query=query)
    except NoAnswer as none:
        raise NoModelList(
            str(none).removesuffix("."), None, none.latency_ms, is_forbidden=none.is_forbidden
        ) from none
    if not answer.is_ok:
        said = side_calls.error_of(answer, reach.secret)
        raise NoModelList(f"it answered {answer.status}: {said}", answer.status, answer.latency_ms)
    page = answer.json()
    if page is None:
        raise NoModelList("its answer is not JSON", answer.status, answer.latency_ms)
    if not isinstance(page, dict):
        raise NoModelList("its answer is not a JSON object", answer.status, answer.latency_ms)
    return page, answer.latency_ms


def _ids_of(entries: Any) -> Iterator[str]:
    if not isinstance(entries, list):
        raise NoModelList("its answer has no list `data`")
    for entry in entries:
        match entry:
            case {"id": str(found)} if 0 < len(found) <= MAX_ID_LENGTH and "\0" not in found:
                # Gemini lists `models/…` but is called by the name behind it.
                yield found.removeprefix("models/")


def _secret(provider: Provider) -> Secret | None:
    """Return the newest secret of the provider's owner."""
    if provider.auth_kind == Provider.AuthKind.NONE:
        return None
    own = Credential.objects.filter(provider=provider, tenant=provider.tenant, enabled=True)
    newest = own.select_related("provider").order_by("-created_at").first()
    if newest is None:
        raise NoModelList("it has no enabled credential; add one first")
    try:
        return credentials.reveal(newest)
    except (KeyringError, SealError) as error:
        raise NoModelList(f"its credential cannot be used: {error}".removesuffix(".")) from error
