"""The attribute table of a shapefile (dBASE III): in which encoding its texts are, and how its fields are called."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

#: language driver byte of the header → encoding; others say nothing reliable
_LANGUAGE = {0x4D: "gb18030", 0x7A: "gb18030", 0x4F: "cp950", 0x78: "cp950"}
_CUT = 3  #: bytes of a character that may be missing at the end of a full field
_HEAD = 32  #: bytes of the header, and of each field's description
_NAME = 11  #: bytes of a field's name, the last one zero


class Encoding(NamedTuple):
    """The encoding of texts (Python's name), and in words how it is known."""

    name: str
    en: str
    zh: str


def shown(encoding: str) -> str:
    """How people call an encoding."""
    return {"gb18030": "GBK", "utf-8": "UTF-8"}.get(encoding, encoding.upper())


def text_codec(word: str) -> str | None:
    """Python's name of an encoding of texts; None for a word that names none (or a codec of another kind)."""
    try:
        b"a".decode(word)
        return codecs.lookup(word).name
    except (LookupError, ValueError, TypeError):
        return None


def encoding_of(table: bytes, cpg: bytes | None) -> Encoding:
    """The encoding of the texts: what the .cpg says unless the bytes contradict it, else the header, else the bytes.

    table : content of the .dbf (its beginning is enough);  cpg: content of the .cpg, None without one
    Bytes that are all UTF-8 are UTF-8, others GBK (as gb18030, which contains it and GB2312). A .cpg is contradicted
    by texts that are not in its encoding, by texts of three-byte UTF-8 under another name, and by pairs of GB2312 bytes
    throughout under the name of a Western encoding.
    """
    texts = _texts(table)
    seen = "utf-8" if all(_is_utf8(text) for text in texts) and not _rather_gbk(texts) else "gb18030"
    said = _named(cpg.decode("ascii", errors="ignore")) if cpg is not None else None
    if said is not None:
        if not texts or said == seen:
            return Encoding(said, "as its .cpg says", "依据 .cpg")
        if _contradicted(texts, said, seen):
            name, other = shown(said), shown(seen)
            return Encoding(
                seen,
                f"its .cpg says {name}, but the bytes are {other}",
                f".cpg 写的是 {name}，但字节为 {other}",
            )
        return Encoding(said, "as its .cpg says", "依据 .cpg")
    if len(table) > 29 and table[29] in _LANGUAGE:
        named = _LANGUAGE[table[29]]
        if named != "gb18030" or seen != "utf-8" or not _is_surely_utf8(texts):
            return Encoding(named, "as the header of its .dbf says", "依据 .dbf 头")
        return Encoding(seen, "its .dbf says GBK, but the bytes are UTF-8", ".dbf 头写的是 GBK，但字节为 UTF-8")
    if not texts:
        return Encoding("utf-8", "its texts are all ASCII", "文本均为 ASCII")
    return Encoding(seen, "not stated; as the bytes are", "未声明；依据字节判断")


def cut_text(text: bytes, encoding: str) -> str | None:
    """Bytes as text, without the beginning of a character at the end; None if they are not in the encoding."""
    for cut in range(min(_CUT, len(text)) + 1):
        try:
            return text[: len(text) - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _contradicted(texts: list[bytes], said: str, seen: str) -> bool:
    if any(cut_text(text, said) is None for text in texts):
        return True
    if seen == "utf-8":
        return _is_surely_utf8(texts)
    return said.startswith(("iso8859", "cp125", "latin")) and all(_is_gb2312(text) for text in texts)


def _is_surely_utf8(texts: list[bytes]) -> bool:
    """Whether texts that are all UTF-8 cannot well be GBK: they have three-byte characters."""
    return any(re.search(rb"[\xe2-\xef][\x80-\xbf]{2}", text) for text in texts)


def _rather_gbk(texts: list[bytes]) -> bool:
    """Whether texts that are all UTF-8 are GBK all the same: 路 is the bytes of · in UTF-8.

    They are when they have no three-byte character, come in pairs of GB2312, and no lone pair stands beside a Latin
    letter, as the one of Straße does.
    """
    if not texts or _is_surely_utf8(texts) or not all(map(_is_gb2312, texts)):
        return False
    return not any(
        re.search(rb"[A-Za-z][\x80-\xff]{2}(?![\x80-\xff])|(?<![\x80-\xff])[\x80-\xff]{2}[A-Za-z]", text)
        for text in texts
    )


def _is_gb2312(text: bytes) -> bool:
    """Whether all bytes beyond ASCII come in pairs of GB2312, the last one perhaps cut."""
    runs = re.findall(rb"[\x80-\xff]+", text)
    whole = all(re.fullmatch(rb"(?:[\xa1-\xf7][\xa1-\xfe])+", run) for run in runs[:-1])
    last = bool(runs) and re.fullmatch(rb"(?:[\xa1-\xf7][\xa1-\xfe])+[\xa1-\xf7]?", runs[-1]) is not None
    return whole and last and any(len(run) > 1 for run in runs)


def _named(text: str) -> str | None:
    """Python's name of the encoding that a .cpg names; None if it is none that is known."""
    plain = text.strip().lower()
    number = re.fullmatch(r"(?:ansi|oem|cp|windows|ms)?[ _-]*(\d+)", plain)
    if plain in ("gbk", "gb2312", "gb18030", "cp936", "936") or (number and number[1] == "936"):
        return "gb18030"
    if number and number[1] == "65001":
        return "utf-8"
    latin = re.fullmatch(r"(?:iso)?[ _-]*8859[ _-]*(\d*)", plain)
    if latin:
        plain = f"iso8859-{latin[1] or 1}"
    elif number:
        plain = f"cp{number[1]}"
    return text_codec(plain)


def _fields(table: bytes) -> list[tuple[bytes, int, int]]:
    """Of each field its name, and where its value begins in a record and how long it is (0: not characters)."""
    head = int.from_bytes(table[8:10], "little")
    found, start = [], 1
    for at in range(_HEAD, min(head - 1, len(table) - _HEAD + 1), _HEAD):
        if table[at] == 0x0D:
            break
        size = table[at + 16]
        name = table[at : at + _NAME].split(b"\0")[0]
        found.append((name, start, size if table[at + 11 : at + 12] == b"C" else 0))
        start += size
    return found


def _texts(table: bytes) -> list[bytes]:
    """The distinct texts with bytes beyond ASCII: field names and values of fields of characters."""
    if len(table) < 65:
        return []
    head = int.from_bytes(table[8:10], "little")
    wide = int.from_bytes(table[10:12], "little")
    rows = min(int.from_bytes(table[4:8], "little"), len(table) // wide + 1 if wide else 0)  # as many as there can be
    described = _fields(table)
    fields = [(start, start + size) for _, start, size in described if size > 0]
    found = {name for name, _, _ in described if not name.isascii()}
    for row in range(rows):
        record = table[head + row * wide : head + (row + 1) * wide]
        if not record.isascii():
            found |= {value for begin, end in fields if not (value := record[begin:end].rstrip(b" \0")).isascii()}
    return sorted(found)


def _is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8, the last character perhaps cut."""
    for cut in range(_CUT + 1):
        try:
            text[: len(text) - cut].decode("utf-8")
        except UnicodeDecodeError as bad:
            if bad.end < len(text) - cut:
                return False
        else:
            return True
    return False
