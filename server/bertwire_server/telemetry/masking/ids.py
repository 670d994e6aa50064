"""Masking of national identification numbers whose form or checksum other numbers rarely have.

| country | number | recognized by |
|---|---|---|
| US | SSN, ITIN | `123-45-6789`, hyphens or spaces |
| UK | National Insurance | two letters of those in use, six digits, A to D |
| Spain | DNI, NIE | checksum letter |
| France | NIR | checksum of two digits |
| Italy | codice fiscale | its form of letters and digits |
| Brazil | CPF | `123.456.789-09` |
| China | resident identity | date of birth and checksum |
"""

import re
from collections.abc import Callable

_BEFORE, _AFTER = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"


def _dni(match: re.Match[str]) -> bool:
    number, letter = match[1].upper().replace(".", ""), match[2].upper()
    digits = number.translate(str.maketrans("XYZ", "012"))
    return len(number) in (7, 8) and "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == letter


def _nir(match: re.Match[str]) -> bool:
    number = match[1].replace(" ", "").upper().replace("2A", "19").replace("2B", "18")
    return 97 - int(number) % 97 == int(match[2])


def _resident(match: re.Match[str]) -> bool:
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(match[1]))
    return "10X98765432"[total % 11] == match[2].upper()


def _by_form(match: re.Match[str]) -> bool:  # noqa: ARG001 - takes the place of a checksum
    return True


_KINDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = tuple(
    (re.compile(_BEFORE + form + _AFTER, re.IGNORECASE), check)
    for form, check in (
        (r"\d{3}([- ])\d{2}\1\d{4}", _by_form),
        (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", _by_form),
        (r"((?:[XYZ]|\d{1,2})\.?\d{3}\.?\d{3}|[XYZ]\d{7})[- ]?([A-Z])", _dni),
        (r"([12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3}) ?(\d{2})", _nir),
        (r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", _by_form),
        (r"\d{3}\.\d{3}\.\d{3}-\d{2}", _by_form),
        (r"(\d{6}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3})([\dX])", _resident),
    )
)


def mask_ids(text: str) -> str:
    """Mask national identification numbers."""
    for pattern, check in _KINDS:
        text = pattern.sub(lambda match, check=check: "[id]" if check(match) else match[0], text)  # type: ignore[misc]
    return text
