"""What the providers' models cost by a price list, beside what is published, and the publishing of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import transaction

from routing.models import ProviderModel
from tenants.models import PriceVersion
from tenants.prices import publishing, starter
from tenants.prices.dollars import per_million
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tenants.prices.starter import Dated, ListedModel, PriceList

State = Literal["new", "changed", "unchanged", "unknown"]
STATES: tuple[State, ...] = ("new", "changed", "unchanged", "unknown")


@dataclass(frozen=True, slots=True)
class Step:
    """Prices that count from an instant on, and those published for it until now."""

    effective_from: datetime
    lines: tuple[Line, ...]
    before: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What the list says of a provider's model. `steps` is what would be published; `without` what else the
    vendor charges for."""

    provider: str
    model: str
    state: State
    steps: tuple[Step, ...] = ()
    without: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "model": self.model,
            "state": self.state,
            "prices": [
                {
                    "effective_from": step.effective_from.isoformat(),
                    "lines": _as_json(step.lines),
                    "before": _as_json(step.before),
                }
                for step in self.steps
            ],
            "without": list(self.without),
        }

    def in_words(self) -> str:
        begin = f"{self.state:<10} {self.provider}/{self.model}"
        return "\n".join([begin, *(_step_in_words(step) for step in self.steps)])


def read(path: str | None) -> PriceList:
    """The packaged list or that of a file. Raises ValidationError."""
    try:
        return starter.read(Path(path) if path else None)
    except (OSError, ValueError) as error:
        raise ValidationError({"file": f"{path} is no price list: {error}"}) from error


def compare(prices: PriceList, now: datetime, provider: str | None = None) -> list[Change]:
    """For every model of the platform's providers, or of one of them. Those of tenants cost us nothing."""
    models = ProviderModel.objects.filter(provider__tenant=None).select_related("provider")
    if provider is not None:
        models = models.filter(provider__name=provider)
        if not models.exists():
            raise ValidationError(
                {"provider": f"The platform has no provider {provider!r} with models."}
            )
    return [_change(m, prices, now) for m in models.order_by("provider__name", "upstream_id")]


@transaction.atomic
def publish(changes: Iterable[Change], source: str, by: str, now: datetime) -> int:
    """All of what is new or changed, or nothing; how many versions that made."""
    made = 0
    for change in changes:
        subject = Subject.cost(change.provider, change.model)
        for step in change.steps:
            version = publishing.draft(subject, step.lines, step.effective_from, source)
            publishing.publish(version, by, now)
            made += 1
    return made


def source_of(prices: PriceList) -> str:
    return f"{prices.source} of {prices.list_date}"


def _change(model: ProviderModel, prices: PriceList, now: datetime) -> Change:
    provider = model.provider
    vendor = prices.vendor(provider.vendor, provider.base_url)
    listed = vendor.model(model.upstream_id) if vendor is not None else None
    if listed is None:
        return Change(provider.name, model.upstream_id, "unknown")
    published = publishing.published(Subject.cost(provider.name, model.upstream_id))
    steps = tuple(_steps(listed, published, now))
    state: State = "unchanged" if not steps else "changed" if published else "new"
    return Change(provider.name, model.upstream_id, state, steps, listed.without)


def _steps(listed: ListedModel, published: Sequence[PriceVersion], now: datetime) -> Iterable[Step]:
    """The prices of today from now on, and those the list announces, each from its day."""
    past = [dated for dated in listed.prices if _instant(dated) <= now]
    announced = [dated for dated in listed.prices if _instant(dated) > now]
    taken = {version.effective_from for version in published}
    if past and (step := _step(past[-1], now, published)) is not None:
        yield step
    for dated in announced:
        # What is published for that very instant cannot be replaced; whoever published it knew better.
        if _instant(dated) in taken:
            continue
        if (step := _step(dated, _instant(dated), published)) is not None:
            yield step


def _step(dated: Dated, at: datetime, published: Sequence[PriceVersion]) -> Step | None:
    """None where these are the published prices already."""
    lines = tuple(line.line() for line in dated.lines)
    counts = next((v for v in published if v.effective_from <= at), None)
    before = tuple(publishing.lines_of(counts)) if counts is not None else ()
    return None if set(lines) == set(before) else Step(at, lines, before)


def _instant(dated: Dated) -> datetime:
    if dated.since is None:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.combine(dated.since, time(), UTC)


def _as_json(lines: Iterable[Line]) -> list[dict[str, Any]]:
    return [
        {
            "token_class": line.token_class,
            "service_tier": line.service_tier,
            "above_tokens": line.above_tokens,
            "pico_per_token": line.pico_per_token,
            "dollars_per_million": per_million(line.pico_per_token),
        }
        for line in lines
    ]


def _step_in_words(step: Step) -> str:
    before = {_key(line): line.pico_per_token for line in step.before}
    after = {_key(line): line.pico_per_token for line in step.lines}
    told = [
        f"{' '.join(key)} {_amount(before.get(key))} -> {_amount(after.get(key))}"
        if before
        else f"{' '.join(key)} {_amount(after[key])}"
        for key in {**after, **before}
        if before.get(key) != after.get(key)
    ]
    return f"           from {step.effective_from:%Y-%m-%d %H:%M} UTC: {', '.join(told)}"


def _key(line: Line) -> tuple[str, ...]:
    tier = () if line.service_tier == "default" else (line.service_tier,)
    above = (f">{line.above_tokens}",) if line.above_tokens else ()
    return (line.token_class, *tier, *above)


def _amount(pico: int | None) -> str:
    return "none" if pico is None else f"${per_million(pico)}"
