"""Compute what a call must be charged from the run's prices: here, not in the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from bench.chaos.accounts import Tokens


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per million tokens in thousandths, so that a token costs so many whole nano-dollars."""

    input_nano: int
    output_nano: int
    reasoning_nano: int

    def of(self, tokens: Tokens) -> int:
        entered, visible, thought = tokens
        return (
            entered * self.input_nano + visible * self.output_nano + thought * self.reasoning_nano
        )

    @property
    def options(self) -> list[str]:
        """Return the options for `set_price`: a nano-dollar per token is a thousandth of a dollar per
        million.
        """
        return [
            "--input", _dollars(self.input_nano), "--output", _dollars(self.output_nano),
            "--reasoning", _dollars(self.reasoning_nano),
        ]  # fmt: skip


def _dollars(nano: int) -> str:
    return f"{nano // 1000}.{nano % 1000:03d}"


MODEL = "sandbox-1"
# Different for every protocol, and another for what it costs us, so that no mix-up goes unseen.
CHARGES = {
    "sandbox-chat": Rate(3_001, 15_007, 17_011),
    "sandbox-responses": Rate(2_503, 10_009, 12_011),
    "sandbox-anthropic": Rate(5_003, 25_013, 27_017),
}
COSTS = {
    "sandbox-chat": Rate(1_009, 5_003, 6_007),
    "sandbox-responses": Rate(1_201, 4_001, 4_507),
    "sandbox-anthropic": Rate(2_003, 9_001, 9_511),
}
