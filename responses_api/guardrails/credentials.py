"""Know what keys, tokens and private keys look like."""

from __future__ import annotations

import string

from responses_api.guardrails.rule import Rule, own_rule

_TOKEN = string.ascii_letters + string.digits + "_-"
# Without a space, or the words after a key would belong to it. A backslash, because of line breaks in JSON.
_PEM = string.ascii_letters + string.digits + "+/=\r\n\\-"
_KEY = "API_KEY"
_PEM_WORDS = r"(?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
# Name, how it begins, what it goes on with, what a mask calls it.
_KINDS: tuple[tuple[str, str, str, str], ...] = (
    ("tollgate_key", r"\btg_(?:live|test|admin|play)_[0-9A-Za-z]{10}_[0-9A-Za-z]{8}", _TOKEN, _KEY),
    ("openai_key", r"\bsk-[A-Za-z0-9_-]{20}", _TOKEN, _KEY),
    ("anthropic_key", r"\bsk-ant-[A-Za-z0-9_-]{10}", _TOKEN, _KEY),
    ("github_token", r"\b(?:gh[opsur]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{22})", _TOKEN, _KEY),
    ("aws_key_id", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", "", _KEY),
    ("slack_token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10}", _TOKEN, _KEY),
    ("google_key", r"\bAIza[0-9A-Za-z_-]{35}", _TOKEN, _KEY),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,512}\.eyJ[A-Za-z0-9_-]{8}", _TOKEN + ".", "TOKEN"),
    ("private_key", r"-----BEGIN " + _PEM_WORDS, _PEM, "PRIVATE_KEY"),
    ("private_key_end", r"-----END " + _PEM_WORDS, "", "PRIVATE_KEY"),
)

RULES: dict[str, Rule] = {
    name: own_rule(name, pattern, continues=rest, label=label)
    for name, pattern, rest, label in _KINDS
}
