"""Find out of an expression how wide its matches can be, and of which characters they are made.

From both follows how much of a stream must be held back. Expressions are read by Python's parser and matched
by RE2; what the two read differently is refused.
"""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from typing import Any

from msgspec import Struct

from responses_api.guardrails.expression import Expression, InvalidExpression

# Private parts of the library, which its types know in some orders of checking and not in others.
constants: Any = import_module("re._constants")
parser: Any = import_module("re._parser")

MAX_WIDTH = 512
ASCII = frozenset(map(chr, range(128)))
_DIGITS = frozenset("0123456789")
_SPACES = frozenset(" \t\n\r\f\v")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_CATEGORIES = {
    constants.CATEGORY_DIGIT: _DIGITS,
    constants.CATEGORY_SPACE: _SPACES,
    constants.CATEGORY_WORD: _WORD,
}
_EDGES_OF_WORDS = frozenset({constants.AT_BOUNDARY, constants.AT_NON_BOUNDARY})
_REPEATS = frozenset({constants.MAX_REPEAT, constants.MIN_REPEAT})
# Python reads `{,5}` as up to five times, RE2 as these four characters.
_OPEN_REPEAT = re.compile(r"(?<!\\)\{,")


class Alphabet(Struct, frozen=True):
    """A set of characters: some of ASCII, and either none or all of the others."""

    ascii: frozenset[str]
    others: bool = False

    def __contains__(self, char: str) -> bool:
        return char in self.ascii if char < "\x80" else self.others

    def joined(self, other: Alphabet) -> Alphabet:
        return Alphabet(self.ascii | other.ascii, self.others or other.others)


EVERYTHING = Alphabet(ASCII, True)
NOTHING = Alphabet(frozenset())


class Shape(Struct, frozen=True):
    """Everything that is known of matches without looking for them.

    width         the widest, in characters
    alphabet      what they are made of
    first         what they begin with
    sign          characters of which every match has at least one; the rarer they are, the less often a text
                  has to be searched
    is_anchored   where a text begins or ends matters
    """

    width: int
    alphabet: Alphabet
    first: Alphabet = EVERYTHING
    sign: Alphabet = EVERYTHING
    is_anchored: bool = False


def read_shape(pattern: str, most: int = MAX_WIDTH) -> Shape:
    """Read the shape of an expression. Raise InvalidExpression if it cannot be used in a stream."""
    if _OPEN_REPEAT.search(pattern):
        raise InvalidExpression("'{,n}' is not supported; write '{0,n}'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = parser.parse(pattern)
    except (re.error, FutureWarning, DeprecationWarning, OverflowError, RecursionError) as error:
        raise InvalidExpression(f"it cannot be read: {error}") from None
    Expression(pattern)
    least, widest = parsed.getwidth()
    if least == 0:
        raise InvalidExpression("it matches the empty text")
    if widest > most:
        raise InvalidExpression(
            f"its matches may be longer than {most} characters; bound every repetition, as in '{{1,64}}'"
        )
    alphabet = _alphabet(parsed)
    sets = alphabet, _first(parsed)[0], _sign(parsed)
    if _ignores_case(parsed):
        sets = _without_case(sets[0]), _without_case(sets[1]), _without_case(sets[2])
    return Shape(int(widest), *sets, _is_anchored(parsed))


def _ignores_case(parsed: Any) -> bool:
    """Tell whether any part of the expression ignores case."""
    if parsed.state.flags & re.IGNORECASE:
        return True
    return any(
        bool(argument[1] & re.IGNORECASE) or _ignores_case(argument[3])
        if operator is constants.SUBPATTERN
        else any(map(_ignores_case, _inner(operator, argument)))
        for operator, argument in parsed
    )


def _is_anchored(parsed: Any) -> bool:
    return any(
        argument not in _EDGES_OF_WORDS
        if operator is constants.AT
        else any(map(_is_anchored, _inner(operator, argument)))
        for operator, argument in parsed
    )


def _without_case(alphabet: Alphabet) -> Alphabet:
    """Add the other case of every letter, and those beyond ASCII that are folded to one in it."""
    both = frozenset(char.lower() for char in alphabet.ascii) | frozenset(
        char.upper() for char in alphabet.ascii
    )
    return Alphabet(both, alphabet.others or bool({"k", "s"} & both))


def _alphabet(parsed: Any) -> Alphabet:
    found = NOTHING
    for operator, argument in parsed:
        found = found.joined(_of_node(operator, argument))
        if found == EVERYTHING:
            break
    return found


def _first(parsed: Any) -> tuple[Alphabet, bool]:
    """Return with what matches begin, and whether they may be empty."""
    found = NOTHING
    for operator, argument in parsed:
        first, may_be_empty = _first_of(operator, argument)
        found = found.joined(first)
        if not may_be_empty:
            return found, False
    return found, True


def _first_of(operator: Any, argument: Any) -> tuple[Alphabet, bool]:
    if operator is constants.AT:
        return NOTHING, True
    inner = _inner(operator, argument)
    if not inner:
        return _of_node(operator, argument), False
    firsts = [_first(one) for one in inner]
    found = NOTHING
    for first, _ in firsts:
        found = found.joined(first)
    is_optional = operator in _REPEATS and not argument[0]
    return found, is_optional or any(may_be_empty for _, may_be_empty in firsts)


def _sign(parsed: Any) -> Alphabet:
    """Return the rarest characters of which every match has one."""
    return min((_sign_of(*node) for node in parsed), key=_frequency, default=EVERYTHING)


def _sign_of(operator: Any, argument: Any) -> Alphabet:
    if operator is constants.BRANCH:
        signs = NOTHING
        for branch in argument[1]:
            signs = signs.joined(_sign(branch))
        return signs
    if operator in _REPEATS:
        return _sign(argument[2]) if argument[0] else EVERYTHING
    if operator is constants.SUBPATTERN:
        return _sign(argument[3])
    return EVERYTHING if operator is constants.AT else _of_node(operator, argument)


def _frequency(alphabet: Alphabet) -> int:
    """Estimate how often characters are met in prose."""
    often = sum(20 if char.islower() else 100 if char == " " else 1 for char in alphabet.ascii)
    return often + 1_000 * alphabet.others


def _of_node(operator: Any, argument: Any) -> Alphabet:
    if operator is constants.AT:
        return NOTHING
    if operator is constants.LITERAL:
        return _of_range(argument, argument)
    if operator is constants.IN:
        return _of_class(argument)
    inner = _inner(operator, argument)
    if not inner:  # any character, or something nobody thought of
        return EVERYTHING
    found = NOTHING
    for one in inner:
        found = found.joined(_alphabet(one))
    return found


def _inner(operator: Any, argument: Any) -> list[Any]:
    """Return the expressions within a node."""
    if operator in _REPEATS:
        return [argument[2]]
    if operator is constants.SUBPATTERN:
        return [argument[3]]
    if operator is constants.BRANCH:
        return list(argument[1])
    return []


def _of_class(entries: Any) -> Alphabet:
    found = NOTHING
    for operator, argument in entries:
        if operator is constants.LITERAL:
            found = found.joined(_of_range(argument, argument))
        elif operator is constants.RANGE:
            found = found.joined(_of_range(*argument))
        elif operator is constants.CATEGORY and argument in _CATEGORIES:
            found = found.joined(Alphabet(_CATEGORIES[argument]))
        else:  # a negation
            return EVERYTHING
    return found


def _of_range(first: int, last: int) -> Alphabet:
    return Alphabet(frozenset(map(chr, range(first, min(last, 127) + 1))), last > 127)
