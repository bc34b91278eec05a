"""Each kind finds what it should and leaves the rest alone; wrong configurations are refused."""

from __future__ import annotations

from typing import Any

import pytest

from responses_api.guardrails.config import InvalidConfig, validate
from responses_api.guardrails.engine import compile_guardrails
from responses_api.guardrails.shape import read_shape
from responses_api.guardrails.spec import RequestContents, RequestSegment
from tests.plugins.cases import cases
from tests.responses_api.guardrails.engines import as_whole, spec


def masked(kind: str, text: str, **config: Any) -> str:
    validate(kind, config)  # type: ignore[arg-type]
    return as_whole(compile_guardrails([spec(kind, config=config)]), text)[0]


@cases(
    ("text", "expected"),
    [
        ("Ask bob.smith+x@mail.example.co.uk.", "Ask [EMAIL]."),
        ("no@mail, me@, @you", "no@mail, me@, @you"),
        ("4111 1111 1111 1111 and 378282246310005", "[CARD] and [CARD]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("DE89 3704 0044 0532 0130 00, GB82WEST12345698765432", "[IBAN], [IBAN]"),
        ("GB82WEST12345698765433", "GB82WEST12345698765433"),
        ("+49 170 1234567, (212) 555-0123, 030 12345678", "[PHONE], [PHONE], [PHONE]"),
        ("In 2024 there were 1234567, 12,5 % more.", "In 2024 there were 1234567, 12,5 % more."),
        ("10.0.0.17 and 2001:db8::8:800:200c:417a", "[IP] and [IP]"),
        ("999.1.1.1, 127.0.0.1, 12:30:15", "999.1.1.1, 127.0.0.1, 12:30:15"),
        ("078-05-1120 but 900-05-1120 and 666-05-1120", "[US_SSN] but 900-05-1120 and 666-05-1120"),
        ("86095742719 but 86095742718", "[DE_TAX_ID] but 86095742718"),
        ("943 476 5919", "[UK_NHS]"),
        ("AB 12 34 56 C but GB123456C", "[UK_NINO] but GB123456C"),
    ],
)  # fmt: skip
def test_personal_data_is_what_its_check_digits_say(text: str, expected: str):
    assert masked("pii", text) == expected


@cases(
    ("text", "expected"),
    [
        ("key sk-proj-abcdefghijklmnopqrstuv.", "key [API_KEY]."),
        ("sk-ant-api03-abcdefghij, tg_live_0123456789_abcdefghijkl", "[API_KEY], [API_KEY]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[API_KEY]"),
        ("github_pat_11ABCDEFG0123456789abc_def", "[API_KEY]"),
        ("AKIAIOSFODNN7EXAMPLE xoxb-123456789012-abc", "[API_KEY] [API_KEY]"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "[API_KEY]"),
        ("sk-short, ask-me-nothing-about-it-please", "sk-short, ask-me-nothing-about-it-please"),
        (r'{"a": "x\nsk-ant-abcdefghij0123"}', '{"a": "x[API_KEY]"}'),
        ("https://x.test/?key%3Dsk-ant-abcdefghij0123&b", "https://x.test/?key[API_KEY]&b"),
        (r"\u0022ghp_abcdefghijklmnopqrstuvwxyz0123", "[API_KEY]"),
    ],
)
def test_secrets_are_known_by_how_they_begin(text: str, expected: str):
    assert masked("secrets", text) == expected


@cases(
    ("kind", "text", "expected"),
    [
        ("secrets", "sk-ant-\u200babcd\u00adefghij.", "[API_KEY]."),
        ("secrets", "\uff33K-no, \uff53\uff4b-ant-abcdefghij", "\uff33K-no, [API_KEY]"),
        ("secrets", "AKIA\ufe0fIOSFODNN7\u2060EXAMPLE", "[API_KEY]"),
        ("secrets", "-----BEGIN\u00a0PRIVATE KEY-----\nMIIE\u200bvQ==", "[PRIVATE_KEY]"),
        ("pii", "bob\uff20example\uff0ecom, b\u200bob@example.com", "[EMAIL], [EMAIL]"),
        ("pii", "4111\u00a01111\u202f1111\u20111111", "[CARD]"),
        ("pii", "\u0664\u0661\u0661\u0661 1111 1111 \uff11\uff11\uff11\uff11", "[CARD]"),
        ("pii", "4111 1111 1111 1111\u00b2", "[CARD]\u00b2"),  # a note's number belongs to nothing
        ("pii", "+49\u00a0170\u20131234567, 078\u201105\u20111120", "[PHONE], [US_SSN]"),
        ("pii", "DE89\u200b3704 0044 0532\u00ad0130 00", "[IBAN]"),
        ("pii", "na\u00efve caf\u00e9\u2026 4\u00bd", "na\u00efve caf\u00e9\u2026 4\u00bd"),
    ],
)
def test_a_secret_in_disguise_is_masked_to_the_character(kind: str, text: str, expected: str):
    assert masked(kind, text) == expected


@cases(
    ("pattern", "text", "expected"),
    [
        (r"TICKET-\d{4}", "T\u200bICKET\u2011\uff11234.", "[ONE]."),
        ("\u200b{3}", "a\u200b\u200b\u200bb", "a[ONE]b"),
        ("\u00a0\u00bb", "a\u00a0\u00bb", "a[ONE]"),
    ],
)
def test_an_expression_is_found_as_written_and_in_disguise(pattern: str, text: str, expected: str):
    patterns = [{"name": "one", "pattern": pattern}]
    assert masked("pattern", text, patterns=patterns) == expected


def test_a_value_in_disguise_is_known_to_be_the_same():
    hits = []
    for text in ("bob@example.com", "bob\u200b@example\uff0ecom"):
        engine = compile_guardrails([spec("pii")])
        found = engine.check_request(
            RequestContents((RequestSegment("message", "user", "input", text),))
        ).findings
        hits += [(one.count, one.value.reveal()) for one in found]
    assert hits == [(1, "bob@example.com")] * 2


@cases(
    ("term", "text", "expected"),
    [
        ("art", "Art, artful smart ART", "[REDACTED], artful smart [REDACTED]"),
        ("müller", "Mu\u0308ller und MÜLLER, Müllers", "[REDACTED] und [REDACTED], Müllers"),
        ("straße", "STRASSE", "[REDACTED]"),
        ("secret", "s\u200be\u00adcret \uff53ecret", "[REDACTED] [REDACTED]"),
        ("secret", "se\U000e0100cret s\U000e0020ecret", "[REDACTED] [REDACTED]"),
        ("東京", "私は東京に", "私は[REDACTED]に"),
        ("c++", "C++ and c+++", "[REDACTED] and [REDACTED]+"),
        (".net", "use .NET, x.net", "use [REDACTED], x[REDACTED]"),
        ("new york", "New York new  york", "[REDACTED] new  york"),
    ],
)
def test_terms_are_whole_words_however_they_are_written(term: str, text: str, expected: str):
    assert masked("terms", text, terms=[term]) == expected


def test_of_terms_that_begin_alike_the_longest_is_taken_that_is_a_word():
    assert (
        masked("terms", "foo bar foo barn", terms=["foo", "foo bar"])
        == "[REDACTED] [REDACTED] barn"
    )


def test_five_thousand_terms_are_one_expression():
    terms = [f"word{number}" for number in range(5_000)]
    assert masked("terms", "word4999 word5000", terms=terms) == "[REDACTED] word5000"


def test_a_block_or_a_note_changes_no_text():
    for action in ("block", "monitor"):
        engine = compile_guardrails([spec("pii", action)])
        text, found = engine.detect("a@b.co", "output")
        assert text == "a@b.co"
        assert [(one.rule, one.start, one.end) for one in found] == [("email", 0, 6)]


@cases(
    ("kind", "config", "field"),
    [
        ("terms", {}, "terms"),
        ("terms", {"terms": ["x"] * 5_001}, "terms"),
        ("terms", {"terms": ["x", ""]}, "terms[1]"),
        ("terms", {"terms": ["\u200b"]}, "terms[0]"),
        ("terms", {"terms": ["x"], "label": "no"}, "label"),
        ("terms", {"terms": ["x"], "words": []}, "words"),
        ("terms", {"terms": ["x"], "opaque": "maybe"}, "opaque"),
        ("pattern", {}, "patterns"),
        ("pattern", {"patterns": [{"name": "a"}]}, "patterns[0]"),
        ("pattern", {"patterns": [{"name": "A", "pattern": "x"}]}, "patterns[0].name"),
        ("pattern", {"patterns": [{"name": "a", "pattern": "x"}] * 2}, "patterns[1].name"),
        ("pii", {"entities": ["email", "shoe_size"]}, "entities[1]"),
        ("pii", {"entities": []}, "entities"),
        ("secrets", {"types": "jwt"}, "types"),
        ("tools", {}, "config"),
        ("tools", {"denied_functions": "x"}, "denied_functions"),
        ("tools", {"max_arguments_bytes": -1}, "max_arguments_bytes"),
        ("input_limits", {"max_tokens": True}, "max_tokens"),
        ("input_limits", {"denied_roles": ["boss"]}, "denied_roles[0]"),
    ],
)
def test_a_wrong_configuration_is_refused_by_its_field(kind: Any, config: Any, field: str):
    with pytest.raises(InvalidConfig) as refused:
        validate(kind, config)
    assert refused.value.field == field
    assert f"'{field}'" in str(refused.value)


@cases(
    "pattern",
    [
        "a*", "a+", "a{3,}", "(?:ab)*", ".{513}", "", "a?", "(", "a{2,1}", "(?=x)x", "(?<=y)x", r"(x)\1",
        "[[:alpha:]]", r"\pL", r"\Qa\E", "a{,5}b", r"x\Z", "a++", "(?>a)", "(?x)a b", r"\u0041",
        "(?:[^a]{500}){2}", "[[a]&&b]",
    ],
)  # fmt: skip
def test_an_expression_without_bounds_or_beyond_re2_is_refused(pattern: str):
    with pytest.raises(InvalidConfig) as refused:
        validate("pattern", {"patterns": [{"name": "a", "pattern": pattern}]})
    assert refused.value.field == "patterns[0].pattern"


@cases(
    ("pattern", "width", "inside", "outside"),
    [
        (r"\bTICKET-\d{4,8}\b", 15, "T-9", "a "),
        ("(?i)key", 3, "kKyY\u212a", "x"),
        ("[^a]b|c.d", 3, "a\nü", ""),
        ("ü{1,3}[\u0430-\u044f]", 4, "ü\u044f", "a"),
        ("a(?:b|cd){0,2}", 5, "abcd", "e"),
    ],
)
def test_how_wide_and_of_what_a_match_is_follows_from_its_expression(
    pattern: str, width: int, inside: str, outside: str
):
    shape = read_shape(pattern)
    assert shape.width == width
    assert all(char in shape.alphabet for char in inside)
    assert not any(char in shape.alphabet for char in outside)
