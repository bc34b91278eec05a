"""Compare what providers' models cost according to a price list with what is published, and publish it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import transaction

from routing.models import ProviderModel
from tenants import units
from tenants.models import PriceVersion
from tenants.prices import dollars, publishing, starter
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tenants.prices.starter import Dated, ListedModel, PriceList
from tenants.token_classes import TOKEN_CLASSES

State = Literal["new", "changed", "unchanged", "unknown"]
STATES: tuple[State, ...] = ("new", "changed", "unchanged", "unknown")


@dataclass(frozen=True, slots=True)
class PriceStep:
    """Prices that take effect at an instant, and those published for it until now."""

    effective_from: datetime
    lines: tuple[Line, ...]
    before: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """The list's entry for a provider's model.

    `steps` is what would be published; `without` what else the vendor charges for.
    """

    provider: str
    model: str
    state: State
    steps: tuple[PriceStep, ...] = ()
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


MAX_FILE_BYTES = 2 * 1024 * 1024


def read(path: str | None) -> PriceList:
    """Read the packaged list or that of a file. Raise ValidationError."""
    try:
        return starter.read(Path(path) if path else None)
    except (OSError, ValueError) as error:
        raise ValidationError({"file": f"{path} is not a price list: {error}"}) from error


def decode(content: bytes) -> PriceList:
    """Read a list that somebody has sent. Raise ValidationError."""
    if len(content) > MAX_FILE_BYTES:
        told = f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MB."
        raise ValidationError({"file": told})
    try:
        return starter.decode(content)
    except (ValueError, RecursionError) as error:
        raise ValidationError({"file": f"This is not a price list: {error}"}) from error


def listed_lines(provider: str, model: str, now: datetime) -> tuple[Line, ...]:
    """Return what the packaged list says that a model of the platform costs now; empty if nothing."""
    row = ProviderModel.objects.filter(
        provider__tenant=None, provider__name=provider, upstream_id=model
    ).select_related("provider")
    found = row.first()
    listed = _listed(found, starter.read()) if found is not None else None
    if listed is None:
        return ()
    past = [dated for dated in listed.prices if _instant(dated) <= now]
    return tuple(line.line() for line in past[-1].lines) if past else ()


def compare(prices: PriceList, now: datetime, provider: str | None = None) -> list[Change]:
    """Compare every model of the platform's providers, or of one of them. Tenants' own cost us nothing."""
    models = ProviderModel.objects.filter(provider__tenant=None).select_related("provider")
    if provider is not None:
        models = models.filter(provider__name=provider)
        if not models.exists():
            raise ValidationError(
                {"provider": f"The platform has no provider {provider!r} with models."}
            )
    published = _published()
    return [
        _change(m, prices, now, published.get((m.provider.name, m.upstream_id), ()))
        for m in models.order_by("provider__name", "upstream_id")
    ]


def _published() -> Mapping[tuple[str, str], Sequence[PriceVersion]]:
    """Return the published versions of the cost book by subject, latest first, in two queries."""
    versions = PriceVersion.objects.filter(
        book=PriceVersion.Book.COST, published_at__isnull=False
    ).order_by("-effective_from")
    found: dict[tuple[str, str], list[PriceVersion]] = {}
    for version in versions.prefetch_related("lines"):
        found.setdefault((version.provider, version.model), []).append(version)
    return found


@transaction.atomic
def publish(changes: Iterable[Change], source: str, by: str, now: datetime) -> int:
    """Publish everything that is new or changed, or nothing; return how many versions that made."""
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


def _listed(model: ProviderModel, prices: PriceList) -> ListedModel | None:
    vendor = prices.vendor(model.provider.vendor, model.provider.base_url)
    return vendor.model(model.upstream_id) if vendor is not None else None


def _change(
    model: ProviderModel, prices: PriceList, now: datetime, published: Sequence[PriceVersion]
) -> Change:
    provider, listed = model.provider, _listed(model, prices)
    if listed is None:
        return Change(provider.name, model.upstream_id, "unknown")
    steps = tuple(_steps(listed, published, now))
    state: State = "unchanged" if not steps else "changed" if published else "new"
    return Change(provider.name, model.upstream_id, state, steps, listed.without)


def _steps(
    listed: ListedModel, published: Sequence[PriceVersion], now: datetime
) -> Iterable[PriceStep]:
    """Return today's prices from now on, and those the list announces, each from its day."""
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


def _step(dated: Dated, at: datetime, published: Sequence[PriceVersion]) -> PriceStep | None:
    """Return None if these prices are published already."""
    counts = next((v for v in published if v.effective_from <= at), None)
    before = tuple(publishing.lines_of(counts)) if counts is not None else ()
    lines = _with_units(tuple(line.line() for line in dated.lines), before)
    return None if set(lines) == set(before) else PriceStep(at, lines, before)


def _with_units(lines: tuple[Line, ...], before: tuple[Line, ...]) -> tuple[Line, ...]:
    """Keep published prices of units that the list does not name, or its tokens would make them free."""
    listed = {*TOKEN_CLASSES, *(line.token_class for line in lines)}
    return lines + tuple(line for line in before if line.token_class not in listed)


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
            **_as_dollars(line),
        }
        for line in lines
    ]


def _as_dollars(line: Line) -> dict[str, str]:
    name = "dollars_per_million" if line.token_class in TOKEN_CLASSES else "dollars_per_unit"
    return {name: _said(line.token_class, line.pico_per_token)}


def _step_in_words(step: PriceStep) -> str:
    before = {_key(line): line.pico_per_token for line in step.before}
    after = {_key(line): line.pico_per_token for line in step.lines}
    told = [
        f"{' '.join(key)} {_amount(key, before)} -> {_amount(key, after)}"
        if before
        else f"{' '.join(key)} {_amount(key, after)}"
        for key in {**after, **before}
        if before.get(key) != after.get(key)
    ]
    return f"           from {step.effective_from:%Y-%m-%d %H:%M} UTC: {', '.join(told)}"


def _key(line: Line) -> tuple[str, ...]:
    tier = () if line.service_tier == "default" else (line.service_tier,)
    above = (f">{line.above_tokens}",) if line.above_tokens else ()
    return (line.token_class, *tier, *above)


def _amount(key: tuple[str, ...], prices: Mapping[tuple[str, ...], int]) -> str:
    return f"${_said(key[0], prices[key])}" if key in prices else "none"


def _said(name: str, pico: int) -> str:
    return dollars.said(pico, units.of(name).priced_per)
