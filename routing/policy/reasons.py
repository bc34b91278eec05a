"""Name the reasons for which a lane does not take a call."""

from __future__ import annotations

DISABLED = "disabled"  # the target, or its provider
WHEN = "when"  # a condition of the target does not hold
CAPABILITY = "capability"  # the model lacks what the call needs
WINDOW = "window"  # the input is longer than the model's window
NO_CREDENTIAL = "no_credential"
UNPRICED = "unpriced"  # a hard budget cannot pay for what has no price
OPEN = "open"  # a circuit of the lane is open
NOT_NATIVE = "not_native"  # it does not speak the client's format, and the alias demands that
BUDGET = "budget"  # the caller's budget does not pay for it
TOO_MANY = "too_many"  # the route has more lanes than are looked at

REASONS = (
    DISABLED, WHEN, CAPABILITY, WINDOW, NO_CREDENTIAL, UNPRICED, OPEN, NOT_NATIVE, BUDGET, TOO_MANY,
)  # fmt: skip
