"""A provider's own list of models, taken over as rows; nothing is ever removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_project.lib.secret import Secret
from routing import credentials, side_calls
from routing.models import Credential, Provider, ProviderModel, WireProtocol

MAX_PAGES = 50
PAGE_SIZE = 1000
MAX_ID_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Synced:
    """Upstream ids, as the provider lists them."""

    added: list[str]
    existing: list[str]

    def __str__(self) -> str:
        names = f": {', '.join(self.added)}" if self.added else ""
        return f"{len(self.added)} added, {len(self.existing)} there already{names}"


def sync(provider: Provider) -> Synced:
    """Ask GET {base}/models, all pages, and add a row for each model there is none for yet.

    Raises ValidationError, and changes nothing, when the list cannot be had.
    """
    secret = _secret(provider)
    client = side_calls.client(
        provider.protocol,
        provider.auth_kind,
        secret,
        allow_private=provider.allow_private_network,
    )
    with client:
        try:
            ids = list(dict.fromkeys(_ids(client, provider, secret)))
        except httpx.HTTPError as error:
            reason = side_calls.scrubbed(f"{type(error).__name__}: {error}", secret)
            raise _failure(provider, reason) from error
    return _add(provider, ids)


@transaction.atomic
def _add(provider: Provider, ids: list[str]) -> Synced:
    known = set(provider.provider_models.values_list("upstream_id", flat=True))
    added = [upstream_id for upstream_id in ids if upstream_id not in known]
    ProviderModel.objects.bulk_create(
        [ProviderModel(provider=provider, upstream_id=upstream_id) for upstream_id in added],
        ignore_conflicts=True,
    )
    return Synced(added, [upstream_id for upstream_id in ids if upstream_id in known])


def _ids(client: httpx.Client, provider: Provider, secret: Secret | None) -> Iterator[str]:
    """The ids of every page. Only Anthropic pages: `has_more`, `last_id`, `after_id`."""
    # https://platform.claude.com/docs/en/api/models-list
    pages = provider.protocol == WireProtocol.ANTHROPIC
    query: dict[str, str | int] = {"limit": PAGE_SIZE} if pages else {}
    for _ in range(MAX_PAGES):
        page = _page(client, provider, secret, query)
        yield from _ids_of(page, provider)
        if not (pages and page.get("has_more") and isinstance(page.get("last_id"), str)):
            return
        query["after_id"] = page["last_id"]
    raise _failure(provider, f"its list of models does not end after {MAX_PAGES} pages")


def _page(
    client: httpx.Client, provider: Provider, secret: Secret | None, query: dict[str, str | int]
) -> dict[str, Any]:
    response = client.get(provider.base_url.rstrip("/") + "/models", params=query)
    if response.status_code != httpx.codes.OK:
        said = side_calls.error_of(response, secret)
        raise _failure(provider, f"it answered {response.status_code}: {said}")
    try:
        page = response.json()
    except (ValueError, RecursionError) as error:
        raise _failure(provider, "its answer is not JSON") from error
    if not isinstance(page, dict):
        raise _failure(provider, "its answer is not a JSON object")
    return page


def _ids_of(page: dict[str, Any], provider: Provider) -> Iterator[str]:
    entries = page.get("data")
    if not isinstance(entries, list):
        raise _failure(provider, "its answer holds no list `data`")
    for entry in entries:
        match entry:
            case {"id": str(found)} if 0 < len(found) <= MAX_ID_LENGTH:
                # Gemini lists `models/…` but is called by the name behind it.
                yield found.removeprefix("models/")


def _secret(provider: Provider) -> Secret | None:
    """Of the provider's owner, the newest."""
    if provider.auth_kind == Provider.AuthKind.NONE:
        return None
    own = Credential.objects.filter(provider=provider, tenant=provider.tenant, enabled=True)
    newest = own.order_by("-created_at").first()
    if newest is None:
        raise _failure(provider, "it has no enabled credential; add one first")
    return credentials.reveal(newest)


def _failure(provider: Provider, reason: str) -> ValidationError:
    return ValidationError(
        {"provider": f"The models of {provider.name!r} cannot be had: {reason}."}
    )
