"""Know what personal data looks like: an expression finds candidates, a check decides.

Telephone numbers are found only where they are written as such: with a plus or with separators.
"""

from __future__ import annotations

import ipaddress
import string

from responses_api.guardrails.rule import Rule, own_rule

_IBAN_DIGITS = {ord(char): str(int(char, 36)) for char in string.ascii_uppercase}
_LUHN = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _digits(text: str) -> list[int]:
    return [ord(char) - 48 for char in text if "0" <= char <= "9"]


def is_card(text: str) -> bool:
    """Check the length of a payment card's number, and its check digit (Luhn)."""
    digits = _digits(text)
    if not 13 <= len(digits) <= 19:
        return False
    tail = digits[::-1]
    return (sum(tail[::2]) + sum(_LUHN[digit] for digit in tail[1::2])) % 10 == 0


def is_iban(text: str) -> bool:
    """Check an IBAN's length and its check digits (ISO 7064, mod 97)."""
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int((plain[4:] + plain[:4]).translate(_IBAN_DIGITS)) % 97 == 1


def is_phone(text: str) -> bool:
    """Check that there are as many digits as a telephone number has (E.164)."""
    return 7 <= len(_digits(text)) <= 15


def is_ip(text: str) -> bool:
    """Check that it is an address, and none that says nothing about anybody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


def is_ssn(text: str) -> bool:
    """Refuse what the Social Security Administration never gives out."""
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def is_german_tax_id(text: str) -> bool:
    """Check the digits of a Steuer-ID (ISO 7064, mod 11,10): one occurs twice or three times."""
    digits = _digits(text)
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if (
        len(digits) != 11
        or digits[0] == 0
        or counts[-1] not in {2, 3}
        or counts[-2:-1] not in ([1], [])
    ):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((product + digit) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10]


def is_nhs_number(text: str) -> bool:
    """Check the digit of a number of the British health service (mod 11)."""
    digits = _digits(text)
    total = sum(digit * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False))
    return len(digits) == 10 and (11 - total % 11) % 11 == digits[9]


# Of two that find the same the first is taken: a number of ten digits may be a telephone number, too.
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        own_rule(
            "email",
            r"\b[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,63})@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,3}\.[A-Za-z]{2,24}\b",
        ),
        own_rule(
            "card",
            r"\b[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}\b|\b3\d{3}[ -]?\d{6}[ -]?\d{4,5}\b",
            is_card,
        ),
        own_rule("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", is_iban),
        own_rule(
            "ip",
            r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}",
            is_ip,
        ),
        own_rule("us_ssn", r"\b\d{3}-\d{2}-\d{4}\b", is_ssn),
        own_rule("de_tax_id", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", is_german_tax_id),
        own_rule("uk_nhs", r"\b\d{3} ?\d{3} ?\d{4}\b", is_nhs_number),
        own_rule(
            "uk_nino",
            r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",
            lambda text: text[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"},
        ),
        own_rule(
            "phone",
            r"\+[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,5}\)?){2,6}\b"
            r"|\b0\d{1,5}[ /-]\d{2,8}(?:[ -]\d{1,6}){0,3}\b"
            r"|\(\d{2,5}\) ?\d{3,4}[ -]?\d{3,5}\b"
            r"|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b",
            is_phone,
        ),
    )
}
