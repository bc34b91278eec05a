"""Say by which rules the answers of an alias are kept, and when those of before no longer count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from hashlib import blake2b
from typing import cast

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, When

from routing.models import Alias
from routing.route import CachePolicy, CacheScope, ResolvedTarget

# Facts of conditions that are not part of what makes requests equal.
DECIDING = frozenset({"key", "stream", "tags"})


def of_alias(alias: Alias, targets: Sequence[ResolvedTarget]) -> CachePolicy | None:
    """Return the rules for calls by this name; None if no answer is kept.

    A link may keep answers by rules of its own. What such an answer is charged is the operator's to say, so
    that of a link is what the platform's alias says.
    """
    source = alias.platform_alias or alias
    rules = alias if alias.cache_seconds else source
    if not rules.cache_seconds:
        return None
    return CachePolicy(
        seconds=rules.cache_seconds,
        scope=cast("CacheScope", str(rules.cache_scope)),
        any_temperature=rules.cache_any_temperature,
        charge_percent=source.cache_charge_percent,
        alias_id=alias.pk,
        generation=generation_of(alias),
        revision=_revision(alias, source, targets),
        deciding=frozenset(_deciding(targets)),
    )


def _deciding(targets: Iterable[ResolvedTarget]) -> set[str]:
    """Return the facts by which conditions choose a target, though they make no difference to an answer."""
    conditions = (target.when for target in targets if target.when is not None)
    return {name for when in conditions for name in when.facts} & DECIDING


def with_kept(aliases: QuerySet[Alias]) -> QuerySet[Alias]:
    """Have aliases say in `keeps_answers` whether they are kept, under their own name or that of a link."""
    return aliases.annotate(keeps_answers=Case(When(_kept(), then=True), default=False))


def is_kept(alias: Alias) -> bool:
    """Tell whether answers of this alias are kept."""
    return Alias.objects.filter(_kept(), pk=alias.pk).exists()


def _kept() -> Q:
    links = Alias.objects.filter(platform_alias=OuterRef("pk"), cache_seconds__gt=0)
    return Q(cache_seconds__gt=0) | Q(platform_alias__cache_seconds__gt=0) | Q(Exists(links))


def generation_of(alias: Alias) -> int:
    """Return the number of purges of an alias; a link is purged with what it leads to."""
    linked = alias.platform_alias
    return alias.cache_generation + (0 if linked is None else linked.cache_generation)


def _revision(alias: Alias, source: Alias, targets: Iterable[ResolvedTarget]) -> str:
    """Return a text that changes when other models may answer, or in another way. Neither prices nor secrets
    are part of it, and several credentials of one model count once."""
    ways = (alias.responses_mode, source.responses_mode)
    drops = (alias.drop_unsupported, source.drop_unsupported)
    models = dict.fromkeys(map(_what_answers, targets))
    return blake2b(repr((source.pk, ways, drops, *models)).encode(), digest_size=16).hexdigest()


def _what_answers(target: ResolvedTarget) -> tuple[object, ...]:
    return (
        target.provider,
        target.protocol,
        target.base_url,
        target.model,
        target.owns_credential,
        target.context_window,
        target.max_output_tokens,
        repr(target.when),
        *astuple(target.quirks),
    )
