"""Tell the encoding of a file of delimited text: UTF-8, UTF-16 with a byte order mark, or cp1252."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bertwire_core.errors import UserError

# Bytes decoded at a time; halved, a file is read in twice as many pieces.
_CHUNK = 1 << 20
# Characters of a text that a remark shows; with half as many a wrong encoding is harder to see.
_SHOWN = 40
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# That of UTF-32 begins with that of UTF-16.
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# UTF-16 without a mark shows by the zero that is half of every ASCII character.
_HALVES = {re.compile(rb"[^\0]\0[^\0]", re.DOTALL): "UTF-16LE", re.compile(rb"\0[^\0]\0", re.DOTALL): "UTF-16BE"}
# Bytes to which cp1252 gives no character.
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_BROKEN, _WHOLE = re.compile("[\udc80-\udcff]"), re.compile("[^\0-\x7f\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's text is written.

    Attributes:
        codec: Python's name of the encoding.
        mark: whether the file begins with a byte order mark.
        remark: what is to be said about it, one line; None for UTF-8.
    """

    codec: str
    mark: bool = False
    remark: str | None = None

    @property
    def reading(self) -> str:
        """What decoding does with bytes that are no text: in UTF-8 they become lone surrogates, so that the row can be
        reported and written as it was; the other encodings have none.
        """
        return "surrogateescape" if self.codec == "utf-8" else "strict"

    @property
    def writing(self) -> str:
        """What encoding does with what has no bytes: cp1252 gets an added character that it lacks as its escape."""
        return "backslashreplace" if self.codec == "cp1252" else self.reading


def encoding_of(path: Path) -> Encoding:
    r"""Return the encoding of a delimited file, which is decoded once to know it.

    cp1252 is assumed only where UTF-8 fails, every byte is a character of cp1252, and more bytes break UTF-8 than make
    characters in it: a few damaged bytes do not turn a UTF-8 file into cp1252.

    Raises:
        UserError: the file is UTF-32, or UTF-16 that is broken or has no byte order mark.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start not in _UTF32 and (mark := next((each for each in _MARKS if start.startswith(each)), None)):
        if mark != codecs.BOM_UTF8:
            _require_utf16(path, _MARKS[mark])
            return Encoding(_MARKS[mark], True, f"{path} is UTF-16, as Excel writes Unicode text")
        return Encoding("utf-8", True)
    require_utf8(path)
    if _decodes(path, "utf-8") is None:
        return Encoding("utf-8")
    found = _seen_as_cp1252(path)
    return Encoding("utf-8") if found is None else Encoding("cp1252", remark=found)


def require_utf8(path: Path) -> None:
    """Raise `UserError` where a file begins as UTF-16 or UTF-32."""
    with path.open("rb") as file:
        start = file.read(4)
    if found := _other(start):
        raise UserError(
            f"{path} is {found} and must be UTF-8; convert it: "
            f"iconv -f {found} -t UTF-8 {path.name} > {path.stem}-utf8{path.suffix}"
        )


def _other(start: bytes) -> str | None:
    if start in _UTF32:
        return "UTF-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    return next((name for pattern, name in _HALVES.items() if pattern.match(start)), None)


def _require_utf16(path: Path, codec: str) -> None:
    if (error := _decodes(path, codec)) is not None:
        raise UserError(f"{path} begins as UTF-16 and is not: {error.reason}; save it again as UTF-8") from error


def _decodes(path: Path, codec: str) -> UnicodeDecodeError | None:
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return error
    return None


def _seen_as_cp1252(path: Path) -> str | None:
    """Return the remark on a file that is taken for cp1252, or None where it is not."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    broken = whole = lines = 0
    shown = None
    for chunk in _chunks(path):
        if _UNDEFINED.search(chunk):
            return None
        text = decoder.decode(chunk)
        if shown is None and (first := _BROKEN.search(text)):
            line = lines + text.count("\n", 0, first.start()) + 1
            shown = f"line {line} has {_around(text, first.start())!r}"
        lines += text.count("\n")
        broken += len(_BROKEN.findall(text))
        whole += len(_WHOLE.findall(text))
    if broken <= whole:
        return None
    return f"{path} is not UTF-8 and is read as cp1252, by which {shown}; if that is wrong, convert the file to UTF-8"


def _around(text: str, place: int) -> str:
    """Return some of the line around `place`, as cp1252 reads it."""
    start = max(text.rfind("\n", 0, place) + 1, place - _SHOWN // 2)
    part = text[start : start + _SHOWN].splitlines()[0]
    return part.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
