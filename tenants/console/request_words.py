"""Say in words how requests ended, how long they took and what they came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from tenants import units
from tenants.models import UsageRow
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_detail import RequestDetail
from tenants.reports.request_filter import REFUSED, RETRIED
from tenants.templatetags.figures import MINUS
from tenants.token_classes import TOKEN_CLASSES

Text = str | Promise
NANO_DIGITS = 9
LEAST_DIGITS = 2
MICRO_DIGITS = 6  # pico-dollars for one token are micro-dollars for a million
_STATUS = UsageRow.Status
_CACHE = UsageRow.CacheOutcome


@dataclass(frozen=True, slots=True)
class OutcomeWord:
    """An outcome as people read it: a sign and a word, never a colour alone."""

    label: Text
    icon: str
    tone: str  # of the badge: good, warn, bad or idle


OUTCOMES: Mapping[str, OutcomeWord] = {
    _STATUS.COMPLETED: OutcomeWord(gettext_lazy("answered"), "✓", "good"),
    _STATUS.INCOMPLETE: OutcomeWord(gettext_lazy("incomplete"), "◐", "warn"),
    _STATUS.FAILED: OutcomeWord(gettext_lazy("failed"), "✕", "bad"),
    REFUSED: OutcomeWord(gettext_lazy("refused"), "!", "bad"),
    _STATUS.CLIENT_GONE: OutcomeWord(gettext_lazy("client left"), "↶", "idle"),
    _STATUS.CANCELLED: OutcomeWord(gettext_lazy("cancelled"), "■", "idle"),
    _STATUS.ABANDONED: OutcomeWord(gettext_lazy("abandoned"), "…", "warn"),
    _STATUS.DEFERRED: OutcomeWord(gettext_lazy("settled later"), "◷", "idle"),
}

# What guardrails did to a request.
GUARDRAIL_OUTCOMES: Mapping[str, OutcomeWord] = {
    "blocked": OutcomeWord(gettext_lazy("blocked"), "⛔", "bad"),
    "unavailable": OutcomeWord(gettext_lazy("a check was away"), "!", "bad"),
    "masked": OutcomeWord(gettext_lazy("masked"), "▒", "warn"),
    "monitored": OutcomeWord(gettext_lazy("found, let through"), "◉", "warn"),
    "skipped": OutcomeWord(gettext_lazy("check left out"), "↷", "warn"),
    "passed": OutcomeWord(gettext_lazy("passed"), "✓", "good"),
}

CACHE_OUTCOMES: Mapping[str, Text] = {
    _CACHE.HIT: gettext_lazy("from the cache"),
    _CACHE.SIMILAR: gettext_lazy("similar one from the cache"),
    _CACHE.MISS: gettext_lazy("not in the cache"),
    _CACHE.REFRESH: gettext_lazy("asked anew"),
}

ATTEMPTS: Mapping[str, Text] = {RETRIED: gettext_lazy("sent again after a failure")}

# What is behind the errors that the gateway gives for a provider, for those who cannot see its words.
_CAUSES: Mapping[str, Text] = {
    "upstream_error": gettext_lazy("the provider answered with an error"),
    "upstream_unreachable": gettext_lazy("the provider could not be reached, so nothing was sent"),
    "upstream_address_forbidden": gettext_lazy(
        "the provider's address is private and was not allowed"
    ),
    "upstream_auth_failed": gettext_lazy("the provider refused the gateway's credential"),
    "upstream_rejected": gettext_lazy("the provider refused the request as invalid"),
    "upstream_quota_exhausted": gettext_lazy("the quota of the account at the provider is used up"),
    "upstream_overloaded": gettext_lazy("the provider was overloaded"),
    "upstream_malformed": gettext_lazy("the provider's answer broke its own protocol"),
    "upstream_cut": gettext_lazy("the provider's answer ended without saying so"),
    "upstream_timeout": gettext_lazy("the provider did not answer in time"),
    "rate_limit_exceeded": gettext_lazy("the provider's rate limit was reached"),
    "model_not_found": gettext_lazy("the provider does not offer this model"),
    "insufficient_quota": gettext_lazy("a budget does not pay for it"),
    "internal_error": gettext_lazy("the gateway made a mistake, which is in its log"),
    "server_shutting_down": gettext_lazy("the gateway was shutting down"),
    "idempotency_key_lost": gettext_lazy("another request took over its Idempotency-Key"),
}


# What token classes are called and counted in stands in tenants/units.py, which knows no language.
_COUNTED = (
    gettext_noop("input tokens that no cache held"),
    gettext_noop("input tokens of recordings"),
    gettext_noop("input tokens read from a cache"),
    gettext_noop("input tokens written to a cache"),
    gettext_noop("input tokens written to a cache for its longer time"),
    gettext_noop("output tokens of the answer"),
    gettext_noop("output tokens of speech"),
    gettext_noop("output tokens of reasoning"),
)
_LABELS = (
    gettext_noop("input"),
    gettext_noop("audio input"),
    gettext_noop("input read from cache"),
    gettext_noop("input written to cache"),
    gettext_noop("input written to cache for longer"),
    gettext_noop("output"),
    gettext_noop("audio output"),
    gettext_noop("reasoning"),
)
assert set(_COUNTED) == {units.of(name).counted for name in TOKEN_CLASSES}
assert set(_LABELS) == {units.of(name).label for name in TOKEN_CLASSES}


def outcome(status: str) -> OutcomeWord:
    return OUTCOMES.get(status) or OutcomeWord(status, "•", "idle")


def guardrail(outcome: str) -> OutcomeWord | None:
    """Return what guardrails did, where there is something to tell."""
    return None if outcome in {"", "passed"} else GUARDRAIL_OUTCOMES.get(outcome)


def dollars(nano: int) -> str:
    """Write an amount exactly, without the zeros at its end."""
    shown = _exact(Decimal(abs(nano)).scaleb(-NANO_DIGITS))
    return f"{MINUS if nano < 0 else ''}${shown}"


def per_million(pico: int) -> str:
    """Write the price of one token as dollars per million."""
    return f"${_exact(Decimal(pico).scaleb(-MICRO_DIGITS))}"


def _exact(value: Decimal) -> str:
    """Write a number with all its digits, two at least, as the reader's language does."""
    digits = value.normalize().as_tuple().exponent
    places = max(-digits if isinstance(digits, int) else 0, LEAST_DIGITS)
    return number_format(value, places, force_grouping=True)


def lasting(milliseconds: int | None) -> str:
    """Write how long something took; blank if it was not measured."""
    if milliseconds is None:
        return ""
    if milliseconds < 1_000:
        return _("%(n)d ms") % {"n": milliseconds}
    if milliseconds < 100_000:
        return _("%(n)s s") % {"n": number_format(milliseconds / 1_000, 1)}
    return _("%(minutes)d min %(seconds)d s") % {
        "minutes": milliseconds // 60_000,
        "seconds": milliseconds // 1_000 % 60,
    }


def cause(code: str) -> str:
    """Say what an error code means."""
    known = _CAUSES.get(code)
    return code if known is None else str(known)


def server_of(row: LoggedRequest) -> str:
    """Name what answered, as far as it may be named: provider and model, or the alias."""
    return f"{row.provider}/{row.upstream_model}" if row.provider else row.alias


def sentence(row: LoggedRequest) -> str:
    """Say in one sentence how the request ended."""
    known = {
        "by": server_of(row),
        "time": lasting(row.duration_ms),
        "number": row.attempts,
        "charge": dollars(row.charge_nano),
        "cause": cause(row.code) if row.code else "",
        "message": row.message,
    }
    return _pattern(row) % known


def in_lines(found: RequestDetail, names: Mapping[str, str]) -> str:
    """Tell of a request in a few lines of text: how it ended, and each of its attempts. `names` are those of
    its tenant and key."""
    row = found.summary
    told = [f"{row.id}  {row.at:%Y-%m-%d %H:%M:%S}Z", sentence(row)]
    key = " ".join(filter(None, (names.get("key"), row.key_public_id))) or "-"
    tenant = names.get("tenant") or row.tenant_id or "-"
    told.append(f"tenant {tenant}, key {key}, {row.route}, {row.alias or '-'}")
    if row.is_refused:
        told.append(f"HTTP {row.http_status} {row.code}")
    for each in found.attempts:
        ended = f"{each.status} {each.code}".strip()
        told.append(
            f"{each.number}. {each.provider}/{each.upstream_model}: {ended}, "
            f"opened after {each.offset_ms} ms, took {each.duration_ms} ms, {dollars(each.charge_nano)}"
        )
    told += [f"corrected: {dollars(each.charge_nano)} {each.reason}" for each in found.corrections]
    return "\n".join(told)


def _pattern(row: LoggedRequest) -> str:
    if row.status == _STATUS.COMPLETED and row.attempts > 1:
        return _("Answered by %(by)s on attempt %(number)d, after %(time)s, for %(charge)s.")
    if row.status == _STATUS.FAILED and row.code:
        if row.attempts > 1:
            return _("Failed after %(time)s and %(number)d attempts: %(cause)s.")
        return _("Failed after %(time)s: %(cause)s.")
    return str(_SENTENCES.get(row.status) or _("Failed after %(time)s."))


_SENTENCES: Mapping[str, Text] = {
    REFUSED: gettext_lazy("Refused: %(message)s"),
    _STATUS.COMPLETED: gettext_lazy("Answered by %(by)s in %(time)s, for %(charge)s."),
    _STATUS.INCOMPLETE: gettext_lazy("Answered in part by %(by)s in %(time)s, for %(charge)s."),
    _STATUS.CLIENT_GONE: gettext_lazy(
        "The client left after %(time)s; what it had got was charged: %(charge)s."
    ),
    _STATUS.CANCELLED: gettext_lazy(
        "Cancelled after %(time)s; what had come was charged: %(charge)s."
    ),
    _STATUS.ABANDONED: gettext_lazy(
        "The process that served it died; what it had noted by then was charged: %(charge)s."
    ),
    _STATUS.DEFERRED: gettext_lazy("Sent to %(by)s; its usage is settled later."),
}
