"""What is masked in texts that are logged: nothing of a generated identifier survives, most other numbers do."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertwire_server.telemetry.masking import masked
from bertwire_server.telemetry.masking.accounts import IBAN_LENGTHS, mask_cards, mask_ibans
from bertwire_server.telemetry.masking.addresses import mask_emails

SEPARATORS = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2011"])
TEXT = st.text(max_size=60) | st.text(alphabet=string.printable, max_size=60)
# Many digits, separators and signs: what could hide an identifier or run together with it.
NOISE = st.text(alphabet="0123456789 -.@:+()aA\n", max_size=60)
AROUND = st.tuples(TEXT | NOISE, TEXT | NOISE)


def luhn_complete(digits: str) -> str:
    """Append Luhn's check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - place % 2)
        total += value // 10 + value % 10
    return digits + str(-total % 10)


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Draw a card's number of 13 to 19 digits, in groups of any size."""
    digits = luhn_complete(draw(st.text(alphabet=string.digits, min_size=12, max_size=18)))
    group, separator = draw(st.integers(2, 19)), draw(SEPARATORS)
    return separator.join(digits[at : at + group] for at in range(0, len(digits), group))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """Draw an IBAN of any country, in groups of four or none, in either case."""
    country = draw(st.sampled_from(sorted(IBAN_LENGTHS)))
    size = IBAN_LENGTHS[country] - 4
    account = draw(st.text(alphabet=string.digits + string.ascii_uppercase, min_size=size, max_size=size))
    number = int("".join(str(int(char, 36)) for char in f"{account}{country}00"))
    whole = f"{country}{98 - number % 97:02d}{account}"
    written = draw(SEPARATORS).join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return draw(st.sampled_from([written, written.lower()]))


def apart(before: str, after: str) -> tuple[str, str]:
    """Return the surroundings without digits that would belong to the number between them."""
    return before.rstrip("".join(char for char in before if char.isdecimal())), after.lstrip(
        "".join(char for char in after if char.isdecimal())
    )


@given(st.emails(), AROUND)
def test_no_email_survives(email: str, around: tuple[str, str]) -> None:
    """Mask an address in any text, by itself and with the other masks."""
    text = email.join(around)
    assert email not in mask_emails(text)
    assert email not in masked(text)


@given(cards(), AROUND)
def test_no_card_survives(card: str, around: tuple[str, str]) -> None:
    """Mask a card's number in any text, unless more digits make another number of it."""
    text = card.join(apart(*around))
    assert card not in mask_cards(text)
    assert card not in masked(text)


@given(ibans(), AROUND)
def test_no_iban_survives(iban: str, around: tuple[str, str]) -> None:
    """Mask an account's number in any text, also with letters and digits right beside it."""
    text = iban.join(around)
    assert iban not in mask_ibans(text)
    assert iban not in masked(text)


@given(
    st.ip_addresses(v=4) | st.ip_addresses(v=6), st.sampled_from(["{}", "from {}.", "({})", "[{}]", "{}, x", "a={}"])
)
def test_no_ip_survives(address: object, sentence: str) -> None:
    """Mask an IP address where texts have them."""
    assert str(address) not in masked(sentence.format(address)) or str(address) == "::"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.lee+shop@mail.example.org today", "write to [e-mail] today"),
        ("我的邮箱是ann@example.org谢谢", "我的邮箱是[e-mail]谢谢"),
        ("<jörg@exämple.de>", "<[e-mail]>"),
        ("card 4111 1111 1111 1111 exp 12/27", "card [card] exp 12/27"),
        ("2024-05-01 5500-0000-0000-0004", "2024-05-01 [card]"),
        ("amex378282246310005!", "amex[card]!"),
        ("to DE89 3704 0044 0532 0130 00 please", "to [iban] please"),
        ("IBAN:gb29nwbk60161331926819.", "IBAN:[iban]."),
        ("at 192.168.0.1:8080, or 10.0.0.7.", "at [ip]:8080, or [ip]."),
        ("from [2001:db8::ff00:42:8329] and ::1", "from [[ip]] and [ip]"),
        ("call +49 (0)30 1234567", "call [phone]"),
        ("call (212) 555-0123 or 212.555.0123", "call [phone] or [phone]"),
        ("ring 020 7946 0958, 06 12 34 56 78", "ring [phone], [phone]"),
        ("手机13812345678", "手机[phone]"),
        ("SSN 078-05-1120", "SSN [id]"),
        ("NINO QQ 12 34 56 C", "NINO QQ 12 34 56 C"),  # QQ is given to nobody
        ("NINO AB 12 34 56 C", "NINO [id]"),
        ("DNI 12345678Z y 12345678A", "DNI [id] y 12345678A"),
        ("NIE X1234567L", "NIE [id]"),
        ("NIR 1 84 12 76 451 089 46", "NIR [id]"),
        ("CF RSSMRA85T10A562S", "CF [id]"),
        ("CPF 123.456.789-09", "CPF [id]"),
        ("身份证11010519491231002X号", "身份证[id]号"),
        ("身份证110105194912310021号", "身份证110105194912310021号"),
    ],
)
def test_masks(text: str, expected: str) -> None:
    """Mask each kind, as people write it, and nothing around it."""
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "it cost $1,299.99, not 1.299,99 €",
        "1 000 000 000 people, 0.123456789 of them",
        "on 2024-05-01 at 12:30:45, or 01.02.2024 10:30",
        "order 4711, order no. 20240501123, parcel 1Z999AA10123456784",
        "5 of 10 stars; 3-2 at half time; 100%",
        "version 2.10.3, IPv4 and C++'s std::vector",
        "ask @ann, meet at 5 @ home",
        "ISBN 978-3-16-148410-1",  # wrong check digit: 0 is the right one, and Luhn's is another
        "the years 1998 1999 2000 2001",
        "CVE-2024-12345 in build 1234567890",
    ],
)
def test_keeps_ordinary_numbers(text: str) -> None:
    """Leave prices, dates, times, order numbers and versions."""
    assert masked(text) == text


PARTS = (
    "a", "1", "@", "a@", "1 ", "1-", "0.", "1.", ":", "a:", "+", "+1(", "0/", "DE", "DE89 ", "(", "AB12", "4111 ",
    "12.", "X1.",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_long_text_takes_proportionate_time(part: str) -> None:
    """Mask 200,000 characters made to mislead each pattern, in fewer steps than their square."""
    assert masked(part * (200_000 // len(part)) + "\x00")
