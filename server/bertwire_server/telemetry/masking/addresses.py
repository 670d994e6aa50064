"""Masking of e-mail addresses, IP addresses and phone numbers."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from bertwire_server.telemetry.masking.spans import Span, replaced

# Characters that no address holds: blanks, punctuation, brackets, and scripts without blanks between words, of which a
# whole sentence would be masked.
_ENDS = r"\s@\uff20<>()\[\],;:\"\\\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff01-\uff1f\uff21-\uff65"
# Anchored at such a character, never within a word: each word is scanned once, so that the time is linear.
_EMAIL = re.compile(rf"(?<![^{_ENDS}])[^{_ENDS}]++(?:[@\uff20][^{_ENDS}]++)++")

_IP = re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]++(?!\w)")
_LONGEST_IP = 45

# At most two of them between two digits, as in "+44 (0)20".
_GAP = r"[ \u00a0\u2007\u2009\u202f./()\u2010-\u2013-]{0,2}"
_PHONE = re.compile(
    rf"""
    (?:\+|(?<!\d)(?<!\d[\ .])00(?!0))\ ?\(?\d(?:{_GAP}\d){{6,14}}(?!\d)     # international
    | (?<!\d)(?:\(\d{{3}}\)\ ?|\d{{3}}[-.\ ])\d{{3}}[-.\ ]\d{{4}}(?!\d)   # North American
    | (?<![\d.,])(?<!\d[\ ./-])                                           # national: not the rest of another number,
      (?!\d\d[./-]\d\d[./-]\d{{4}}|0[.,]|000)                             #   not a date or a fraction
      \(?0(?:{_GAP}\d){{8,11}}(?!\d)
    | (?<![A-Za-z0-9])1[3-9]\d(?:[\ -]?\d{{4}}){{2}}(?![A-Za-z0-9])       # Chinese mobile
    """,
    re.VERBOSE,
)


def mask_emails(text: str) -> str:
    """Mask e-mail addresses, with all that is attached to them without a blank."""
    return _EMAIL.sub("[e-mail]", text)


def mask_ips(text: str) -> str:
    """Mask IPv4 and IPv6 addresses, and version numbers of four parts, which look the same."""
    return replaced(text, _ips(text), "[ip]")


def mask_phones(text: str) -> str:
    """Mask phone numbers of the forms that other numbers rarely have."""
    return _PHONE.sub("[phone]", text)


def _ips(text: str) -> Iterator[Span]:
    for match in _IP.finditer(text):
        # A full stop may follow, or a port after an IPv4 address.
        for form in (match[0], match[0].rstrip("."), match[0].rstrip(".:"), match[0].partition(":")[0]):
            if len(form) <= _LONGEST_IP and _is_ip(form):
                yield match.start(), match.start() + len(form)
                break


def _is_ip(form: str) -> bool:
    if form.count(".") != 3 and form.count(":") < 2:
        return False
    try:
        return bool(ip_address(form))
    except ValueError:
        return False
