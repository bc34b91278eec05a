"""Know what keys, tokens and private keys look like."""

from __future__ import annotations

import string

from responses_api.guardrails.rule import Rule, own_rule

_TOKEN = string.ascii_letters + string.digits + "_-"
# Without a space, or the words after a key would belong to it. A backslash, because of line breaks in JSON.
_PEM = string.ascii_letters + string.digits + "+/=\r\n\\-"
_KEY = "API_KEY"
_PEM_WORDS = r"(?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
# A key begins where a word does, or behind an escape of JSON, of a program's text or of an address.
_BEGIN = r"(?:\b|\\[bfnrt]|\\[ux][0-9A-Fa-f]{2,4}|%[0-9A-Fa-f]{2})"
# Name, how it begins, what it goes on with, what a mask calls it.
_KINDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "tollgate_key",
        _BEGIN + r"tg_(?:live|test|admin|play)_[0-9A-Za-z]{10}_[0-9A-Za-z]{8}",
        _TOKEN,
        _KEY,
    ),
    ("openai_key", _BEGIN + r"sk-[A-Za-z0-9_-]{20}", _TOKEN, _KEY),
    ("anthropic_key", _BEGIN + r"sk-ant-[A-Za-z0-9_-]{10}", _TOKEN, _KEY),
    (
        "github_token",
        _BEGIN + r"(?:gh[opsur]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{22})",
        _TOKEN,
        _KEY,
    ),
    ("aws_key_id", _BEGIN + r"(?:AKIA|ASIA)[A-Z0-9]{16}\b", "", _KEY),
    ("slack_token", _BEGIN + r"xox[abeoprs]-[A-Za-z0-9-]{10}", _TOKEN, _KEY),
    ("google_key", _BEGIN + r"AIza[0-9A-Za-z_-]{35}", _TOKEN, _KEY),
    ("jwt", _BEGIN + r"eyJ[A-Za-z0-9_-]{8,512}\.eyJ[A-Za-z0-9_-]{8}", _TOKEN + ".", "TOKEN"),
    ("private_key", r"-----BEGIN " + _PEM_WORDS, _PEM, "PRIVATE_KEY"),
    ("private_key_end", r"-----END " + _PEM_WORDS, "", "PRIVATE_KEY"),
)

RULES: dict[str, Rule] = {
    name: own_rule(name, pattern, continues=rest, label=label)
    for name, pattern, rest, label in _KINDS
}
