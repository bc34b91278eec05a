"""Define a rule: one thing that is looked for, by an expression and perhaps a check of what it found."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from responses_api.guardrails.shape import Alphabet, Shape, read_shape

# The expressions of our own may be wider than those of others, who cannot know what that costs.
MAX_OWN_WIDTH = 1_200


class Rule(Struct, frozen=True):
    """An expression in RE2's syntax with its shape.

    label      what a mask says was there
    accepts    tells whether a match is one; None: every match is
    continues  what follows a match and is made of these characters belongs to it, however long it is
    """

    name: str
    label: str
    pattern: str
    shape: Shape
    accepts: Callable[[str], bool] | None = None
    continues: Alphabet | None = None


def own_rule(
    name: str,
    pattern: str,
    accepts: Callable[[str], bool] | None = None,
    continues: str = "",
    label: str = "",
) -> Rule:
    """Make a rule of an expression that is part of the product."""
    return Rule(
        name,
        label or name.upper(),
        pattern,
        read_shape(pattern, MAX_OWN_WIDTH),
        accepts,
        Alphabet(frozenset(continues)) if continues else None,
    )
