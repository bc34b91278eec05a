"""Test upstreams when somebody asks for it, and keep the newest outcome of each test.

A test sends a real request to an address that whoever added the provider has chosen. It goes by the egress
policy, and an owner may have so many in a minute, so that nobody explores a network by testing.
"""

from __future__ import annotations

from django.core.cache import cache
from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib import clock
from routing import lanes, model_sync, probe
from routing.managed import MODELS, PROVIDERS
from routing.model_sync import Listed, NoModelList, Synced
from routing.models import Provider, ProviderModel, UpstreamTest
from routing.side_calls import Reach
from tenants.access.access import Access
from tenants.models import Tenant

MOST_PER_MINUTE = 20
MAX_ERROR = 600
IS_PRIVATE = "Its host has a private or loopback address, which only an operator may allow."


class TooManyTests(ValidationError):
    """The owner has had its tests of this minute."""

    def __init__(self) -> None:
        super().__init__(
            f"{MOST_PER_MINUTE} tests in a minute are the most; wait a minute and test again.",
            code="too_many_tests",
        )


def try_model(who: Access, model: ProviderModel) -> UpstreamTest:
    """Send the smallest real call to a model. Raise PermissionDenied or TooManyTests."""
    if not MODELS.may(who, "change", model):
        raise PermissionDenied
    owner = model.provider.tenant_id
    count_test(owner)
    found = probe.probe(lanes.target_of(model, owner or 0))
    return _keep(
        model.provider,
        model.upstream_id,
        found.status,
        found.latency_ms,
        _told(found.error or "", owner, is_forbidden=found.is_forbidden),
    )


def try_provider(who: Access, provider: Provider) -> tuple[UpstreamTest, list[str]]:
    """Ask a provider for its models, which costs nothing; return the outcome, and what it lists.

    Raise PermissionDenied or TooManyTests.
    """
    if not PROVIDERS.may(who, "change", provider):
        raise PermissionDenied
    count_test(provider.tenant_id)
    try:
        listed = model_sync.list_models(model_sync.reach_of(provider))
    except NoModelList as none:
        told = explain(none, provider.tenant_id)
        return _keep(provider, "", none.status, none.latency_ms, told), []
    return _keep(provider, "", 200, listed.latency_ms, ""), listed.ids


def sync_models(who: Access, provider: Provider) -> Synced:
    """Take over the models that a provider lists. Raise PermissionDenied, TooManyTests or ValidationError."""
    if not PROVIDERS.may(who, "change", provider):
        raise PermissionDenied
    count_test(provider.tenant_id)
    try:
        return model_sync.add_listed(
            provider, model_sync.list_models(model_sync.reach_of(provider))
        )
    except NoModelList as none:
        raise ValidationError({"provider": explain(none, provider.tenant_id)}) from none


def try_reach(owner: Tenant | None, reach: Reach) -> Listed:
    """Ask an upstream that is not saved for its models. Raise NoModelList or TooManyTests."""
    owner_id = None if owner is None else owner.pk
    count_test(owner_id)
    return model_sync.list_models(reach)


def count_test(owner_id: int | None) -> None:
    """Count a test of this owner's (None: the platform's). Raise TooManyTests."""
    minute = int(clock.now().timestamp()) // 60
    key = f"upstream-tests:{owner_id or 'platform'}:{minute}"
    cache.add(key, 0, 120)
    if cache.incr(key) > MOST_PER_MINUTE:
        raise TooManyTests


def explain(none: NoModelList, owner_id: int | None) -> str:
    """Return why models cannot be listed, as a sentence for the owner's people."""
    text = str(none).rstrip(".")
    sentence = f"{text[:1].upper()}{text[1:]}."
    return _told(sentence, owner_id, is_forbidden=none.is_forbidden)


def _told(error: str, owner_id: int | None, *, is_forbidden: bool) -> str:
    """Keep from a tenant which address a name has in the operator's own network."""
    return IS_PRIVATE if is_forbidden and owner_id is not None else error[:MAX_ERROR]


def _keep(
    provider: Provider, upstream_id: str, status: int | None, latency_ms: float, error: str
) -> UpstreamTest:
    values = {
        "tested_at": clock.now(),
        "ok": not error,
        "status": status,
        "latency_ms": round(latency_ms),
        "error": error,
    }
    kept, _ = UpstreamTest.objects.update_or_create(
        provider=provider, upstream_id=upstream_id, defaults=values
    )
    return kept
