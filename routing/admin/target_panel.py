"""The models behind an alias on its page: in which tiers they are tried, how they are doing, and a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from gateway_project.lib import clock
from routing import probe, target_order, testing
from routing.admin import shown
from routing.managed import ALIASES, MODELS, TARGETS
from routing.models import Alias, Target
from routing.reports import upstreams
from routing.reports.upstreams import TargetFigures
from tenants.access.access import Access
from tenants.prices import book
from tenants.prices.rating import DEFAULT_TIER, Terms

# Roughly what the prompt of a test is with what surrounds it.
PROMPT_TOKENS = 20
PICO_PER_MICRO = 10**6


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target as its row shows it."""

    figures: TargetFigures
    dot: SafeString
    words: str
    test: SafeString | str
    may_test: bool
    cost: str
    when: str
    is_first: bool
    is_last: bool

    @property
    def key(self) -> int:
        return self.figures.target.pk

    @property
    def name(self) -> str:
        return self.figures.name

    @property
    def place(self) -> str:
        """Say which calls it gets."""
        target = self.figures.target
        if not target.enabled:
            return _("disabled")
        told = {"tier": target.position, "weight": target.weight}
        if not target.weight:
            return _("tier %(tier)s, drained: only when all others have failed") % told
        return _("tier %(tier)s, weight %(weight)s") % told


@dataclass(frozen=True, slots=True)
class TargetPanel:
    """The targets of an alias; `may_move`: in another order, too."""

    rows: Sequence[TargetRow]
    may_move: bool

    @property
    def may_test(self) -> bool:
        return any(row.may_test for row in self.rows)


def panel(who: Access, alias: Alias) -> TargetPanel:
    """Return what the page of an alias shows of its targets."""
    found = upstreams.targets_of(who, [alias]).get(alias.pk, ())
    models = [each.target.provider_model for each in found]
    costs = book.costs((model.provider.name, model.upstream_id) for model in models)
    now, rows = clock.now().timestamp(), []
    for place, each in enumerate(found):
        model = each.target.provider_model
        is_platforms = model.provider.tenant_id is None
        terms = costs[model.provider.name, model.upstream_id].at(now) if is_platforms else None
        rows.append(
            TargetRow(
                figures=each,
                dot=shown.dot(each),
                words=shown.health_in_words(each),
                test=shown.test(each.test),
                may_test=MODELS.may(who, "change", model),
                cost=_cost(terms) if who.sees_all_tenants else "",
                when=_when(who, each.target),
                is_first=_is_alone_at(0, place, found),
                is_last=_is_alone_at(len(found) - 1, place, found),
            )
        )
    return TargetPanel(rows, ALIASES.may(who, "change", alias) and len(rows) > 1)


def _when(who: Access, target: Target) -> str:
    """Return the conditions as they are written, to whom they may be shown; empty without any."""
    if not target.when or "when" in TARGETS.hidden(who, target):
        return ""
    return json.dumps(target.when, ensure_ascii=False)


def _is_alone_at(end: int, place: int, found: Sequence[TargetFigures]) -> bool:
    """Tell whether a target stands at an end, and shares its tier with no other."""
    tiers = [each.target.position for each in found]
    return place == end and tiers.count(tiers[place]) == 1


def do(who: Access, alias: Alias, posted: Mapping[str, str]) -> tuple[int, str]:
    """Do what a button asked for; return a message and its level.

    Raise Http404 for a target that they may not see, PermissionDenied, or ValidationError.
    """
    rows = TARGETS.visible(who, Target.objects.filter(alias=alias))
    targets = {
        row.pk: row
        for row in rows.select_related("provider_model__provider").order_by("position", "pk")
    }
    for name, steps in (("up", -1), ("down", 1)):
        if name in posted:
            target = _chosen(targets, posted[name])
            target_order.move(who, alias, target.pk, steps)
            told = _("Moved %(model)s; requests follow the new order at once.")
            return messages.SUCCESS, told % {"model": target.provider_model}
    if "test" not in posted:
        raise ValidationError(_("Nothing was asked for."))
    model = _chosen(targets, posted["test"]).provider_model
    if not MODELS.may(who, "change", model):
        raise PermissionDenied
    kept = testing.try_model(who, model)
    if kept.ok:
        told = _("The test of %(model)s was answered after %(ms)s ms.")
        return messages.SUCCESS, told % {
            "model": model,
            "ms": number_format(kept.latency_ms, 0, force_grouping=True),
        }
    told = _("The test of %(model)s failed: %(error)s")
    return messages.ERROR, told % {"model": model, "error": kept.error}


def _chosen(targets: Mapping[int, Target], key: str) -> Target:
    found = targets.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 19 else None
    if found is None:
        raise Http404
    return found


def _cost(terms: Terms | None) -> str:
    """Say what a test costs at most."""
    if terms is None:
        return _("its cost is unknown, because the model has no price")
    step = terms.tiers[DEFAULT_TIER][-1]
    pico = PROMPT_TOKENS * step.dearest_input + probe.MAX_OUTPUT_TOKENS * step.dearest_output
    micro = -(-pico // PICO_PER_MICRO)
    amount = f"{micro // 10**6}.{micro % 10**6:06d}"
    return _("about $%(amount)s at most") % {"amount": amount}
