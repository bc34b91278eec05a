"""Read and change the texts inside JSON that travels as text, such as the arguments of a call.

Only what is changed is written anew: the rest stays byte for byte, also keys that are there twice. Numbers
are read as well, because an account number needs no quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import orjson

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)


def is_container(raw: str) -> bool:
    """Tell whether a text is a JSON object or list."""
    if raw.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def rewrite(raw: str, change: Callable[[str], str]) -> str:
    """Lead every string and number of valid JSON through a function; a changed number becomes a string."""

    def token(found: re.Match[str]) -> str:
        literal = found[0]
        text = json.loads(literal) if literal[0] == '"' else literal
        changed = change(text)
        return literal if changed == text else json.dumps(changed, ensure_ascii=False)

    return _TOKEN.sub(token, raw)
