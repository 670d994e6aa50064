"""Masking of numbers of payment cards and bank accounts, recognized by their checksums."""

import re
from collections.abc import Iterator

from bertwire_server.telemetry.masking.spans import Span, replaced

# At most one between two digits: spaces of every width, hyphens and dots.
SEPARATOR = r"[ \u00a0\u2007\u2009\u202f.\u2010-\u2013-]"

_NUMBERS = re.compile(rf"\d++(?:{SEPARATOR}\d++)*+")
_GROUP = re.compile(r"\d+")
_SHORTEST_CARD, _LONGEST_CARD = 13, 19

# Length of the IBAN in each country, ISO 13616.
_COUNTRIES = (
    "NO:15 BE:16 DK:18 FI:18 FK:18 FO:18 GL:18 NL:18 SD:18 MK:19 SI:19 AT:20 BA:20 EE:20 KZ:20 LT:20 LU:20 MN:20 "
    "XK:20 CH:21 HR:21 LI:21 LV:21 BG:22 BH:22 CR:22 DE:22 GB:22 GE:22 IE:22 ME:22 RS:22 VA:22 AE:23 GI:23 IL:23 IQ:23 "
    "OM:23 SO:23 TL:23 AD:24 CZ:24 ES:24 MD:24 PK:24 RO:24 SA:24 SE:24 SK:24 TN:24 VG:24 LY:25 PT:25 ST:25 IS:26 TR:26 "
    "BI:27 DJ:27 FR:27 GR:27 IT:27 MC:27 MR:27 SM:27 AL:28 AZ:28 BY:28 CY:28 DO:28 GT:28 HN:28 HU:28 LB:28 NI:28 PL:28 "
    "SV:28 BR:29 EG:29 PS:29 QA:29 UA:29 JO:30 KW:30 MU:30 YE:30 MT:31 SC:31 LC:32 RU:33"
)
IBAN_LENGTHS = {country: int(length) for country, length in (each.split(":") for each in _COUNTRIES.split())}
_IBAN_START = re.compile(rf"(?=([A-Za-z]{{2}}){SEPARATOR}?[0-9]{SEPARATOR}?[0-9])")
_IBANS = {
    length: re.compile(rf"[A-Za-z]{{2}}(?:{SEPARATOR}?[A-Za-z0-9]){{{length - 2}}}")
    for length in set(IBAN_LENGTHS.values())
}


def mask_cards(text: str) -> str:
    """Mask 13 to 19 digits with Luhn's checksum, in one group or several."""
    return replaced(text, _cards(text), "[card]")


def mask_ibans(text: str) -> str:
    """Mask account numbers of every country that has IBANs, whatever surrounds them."""
    return replaced(text, _ibans(text), "[iban]")


def _cards(text: str) -> Iterator[Span]:
    for number in _NUMBERS.finditer(text):
        groups = [match.span() for match in _GROUP.finditer(text, *number.span())]
        for first, (start, _) in enumerate(groups):
            # Other numbers may be next to a card's, so every sequence of whole groups is tried.
            digits = ""
            for begin, end in groups[first : first + _LONGEST_CARD]:
                if len(digits) + end - begin > _LONGEST_CARD:
                    break
                digits += text[begin:end]
                if len(digits) >= _SHORTEST_CARD and _luhn(digits):
                    yield start, end


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _ibans(text: str) -> Iterator[Span]:
    for start in _IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(start[1].upper())
        match = _IBANS[length].match(text, start.start()) if length else None
        if match and _iso_7064("".join(filter(str.isalnum, match[0]))):
            yield match.span()


def _iso_7064(iban: str) -> bool:
    return int("".join(str(int(char, 36)) for char in iban[4:] + iban[:4])) % 97 == 1
