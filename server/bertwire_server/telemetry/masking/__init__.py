"""Masking of personal data that is recognized by its form alone.

| mask | masked |
|---|---|
| `[e-mail]` | any `local@domain`, also without a dot; not a quoted local part |
| `[iban]` | the length of its country and the checksum of ISO 7064; in groups too |
| `[card]` | 13 to 19 digits with Luhn's checksum, in groups too; not a part of a longer group of digits |
| `[id]` | national numbers: see `ids.py` |
| `[ip]` | IPv4 and IPv6 |
| `[phone]` | `+` or `00` and 7 to 15 digits; 9 to 12 digits from a 0 on; North American in groups; Chinese mobile |

Names, postal addresses and everything in words stay. A number with more digits before or after is another number and
stays; one of 13 digits and more has Luhn's checksum by chance one time in ten, and is masked then. Each step takes time
in proportion to the text, whatever the text.
"""

from bertwire_server.telemetry.masking.accounts import mask_cards, mask_ibans
from bertwire_server.telemetry.masking.addresses import mask_emails, mask_ips, mask_phones
from bertwire_server.telemetry.masking.ids import mask_ids

# Numbers with a checksum come before phone numbers, which have none and would match their digits.
_STEPS = (mask_emails, mask_ibans, mask_cards, mask_ids, mask_ips, mask_phones)


def masked(text: str) -> str:
    """Return the text with every identifier replaced by its kind in brackets."""
    for step in _STEPS:
        text = step(text)
    return text
