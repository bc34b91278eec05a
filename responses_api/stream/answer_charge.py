"""Tell a client the tokens and the charge of all calls that were made for its answer."""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct

from gateway_project.lib.json import Json
from responses_api.stream import response as response_object
from tenants.token_classes import Usage

CHARGE_HEADER = "x-tollgate-charge-nano"
VERSION_HEADER = "x-tollgate-price-version"
NANO_PER_DOLLAR = 10**9
# An upstream that is a gateway itself tells here what it charges whoever runs this one.
_UPSTREAMS_OWN = frozenset({"cost", "cost_details", "is_byok"})


class AnswerCharge(Struct, frozen=True):
    """`usage` is what all calls of the answer used that the client pays for. `is_sum`: there were several,
    so that the upstream's report is not the whole. `nano` is the charge, None where there is no price."""

    usage: Usage
    is_sum: bool
    tells_cost: bool
    nano: int | None

    def report(self, reported: Any) -> Json:
        """Return the `usage` of a Response, based on what the upstream reported."""
        return self._complete(reported, response_object.usage_report(self.usage))

    def chat_report(self, reported: Any) -> Json:
        """Return the `usage` of a chat completion."""
        return self._complete(reported, _chat_counts(self.usage))

    def _complete(self, reported: Any, counted: Json | None) -> Json:
        assert counted is not None
        known = reported if isinstance(reported, dict) else {}
        report = _merge(known, counted) if self.is_sum or not known else known
        if not self.tells_cost:
            return report
        report = {name: value for name, value in report.items() if name not in _UPSTREAMS_OWN}
        if self.nano is not None:
            report["cost"] = orjson.Fragment(dollars(self.nano))
        return report


def dollars(nano: int) -> bytes:
    """Write an amount as a JSON number, exact to the nano-dollar: no float is involved."""
    whole, part = divmod(nano, NANO_PER_DOLLAR)
    return b"%d.%b" % (whole, (b"%09d" % part).rstrip(b"0") or b"0")


def _chat_counts(usage: Usage) -> Json:
    report = response_object.usage_report(usage)
    assert report is not None
    counts = response_object.chat_usage(report)
    counts["prompt_tokens_details"]["audio_tokens"] = usage.input_audio
    counts["completion_tokens_details"]["audio_tokens"] = usage.output_audio
    return counts


def _merge(reported: Json, counted: Json) -> Json:
    """Replace reported counts by ours; whatever else was reported stays."""
    merged = {**reported, **counted}
    for name, value in counted.items():
        if isinstance(value, dict) and isinstance(reported.get(name), dict):
            merged[name] = {**reported[name], **value}
    return merged
