"""The attribute table of a shapefile (dBASE III): in which encoding its texts are."""

from __future__ import annotations

import codecs
import re

#: language driver byte of the header → encoding; others say nothing reliable
_LANGUAGE = {0x4D: "gb18030", 0x7A: "gb18030", 0x4F: "cp950", 0x78: "cp950"}
_CUT = 3  #: bytes of a character that may be missing at the end of a full field


def encoding_of(table: bytes, cpg: bytes | None) -> str:
    """The name of the encoding of the texts: what the .cpg says, else the header, else what the bytes are.

    table : content of the .dbf;  cpg: content of the .cpg, None without one
    Bytes that are all UTF-8 are UTF-8, others GBK (as gb18030, which contains it and GB2312).
    """
    said = _named(cpg.decode("ascii", errors="ignore")) if cpg is not None else None
    if said is not None:
        return said
    if len(table) > 29 and table[29] in _LANGUAGE:
        return _LANGUAGE[table[29]]
    return "utf-8" if all(_is_utf8(text) for text in _texts(table)) else "gb18030"


def _named(text: str) -> str | None:
    """Python's name of the encoding that a .cpg names; None if it is none that is known."""
    plain = text.strip().lower()
    number = re.fullmatch(r"(?:ansi|oem|cp|windows|ms)?[ _-]*(\d+)", plain)
    if plain in ("gbk", "gb2312", "gb18030", "cp936", "936") or (number and number[1] == "936"):
        return "gb18030"
    if number and number[1] == "65001":
        return "utf-8"
    if number and number[1].startswith("8859"):
        plain = f"iso8859-{number[1][4:] or 1}"
    elif number:
        plain = f"cp{number[1]}"
    try:
        return codecs.lookup(plain.replace("iso-8859", "iso8859").replace("iso 8859", "iso8859")).name
    except (LookupError, ValueError):
        return None


def _texts(table: bytes) -> list[bytes]:
    """The distinct texts with bytes beyond ASCII: field names and values of fields of characters."""
    if len(table) < 65:
        return []
    rows = int.from_bytes(table[4:8], "little")
    head = int.from_bytes(table[8:10], "little")
    wide = int.from_bytes(table[10:12], "little")
    fields, start, names = [], 1, []
    for at in range(32, min(head - 1, len(table) - 31), 32):
        if table[at] == 0x0D:
            break
        names.append(table[at : at + 11].split(b"\0")[0])
        size = table[at + 16]
        if table[at + 11 : at + 12] == b"C":
            fields.append((start, start + size))
        start += size
    found = {name for name in names if not name.isascii()}
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
