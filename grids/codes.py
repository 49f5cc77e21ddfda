"""Codes of areas, cells and components: a ``str`` that has been checked; the hierarchy is in the digits.

=================  ======================================  ==========================================
what               digits                                  edition
=================  ======================================  ==========================================
city               4                                       GB/T 2260
district, street   6, 9 (+3)                               GB/T 2260, GB/T 10114
community          12 (+3)                                 local civil affairs
cell               14 = community + 2                      CJ/T 213-2005
cell               15 = community + 3                      GB/T 30428.1-2013, GB/T 47678.3-2026
component          16 = district + 2 major + 2 minor + 6   CJ/T 214-2007, GB/T 30428.2-2013
component          17 = district + 2 major + 3 minor + 6   GB/T 47678.5-2026
=================  ======================================  ==========================================

The 2026 edition is said to allow capital letters in cell codes; none has been met, so only digits pass. A
part of zeros means "all of the level above" and is refused: 610900 is the city 6109, not a district. Serials run
inside the parent, are never reused, and a full parent is an error.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import ClassVar, Self

from gis.errors import Invalid


class _Code(str):
    """What the three kinds share: digits of one of several widths, cut into named parts."""

    __slots__ = ()

    _WHAT: ClassVar[tuple[str, str]] = ("code", "编码")
    #: number of digits → the parts in order, each with its width
    _PARTS: ClassVar[dict[int, tuple[tuple[str, int], ...]]] = {}

    def __new__(cls, text: str) -> Self:
        """``text`` itself if it is a code of this kind, exactly; Invalid, with the reason, if not."""
        en, zh = cls._WHAT
        if not isinstance(text, str):
            raise Invalid(
                f"a {en} is text, not {type(text).__name__} {text!r}",
                f"{zh}必须是文本，而不是 {type(text).__name__} {text!r}",
                mend="read the column as text: spreadsheets turn long codes into rounded numbers",
                mend_zh="请将该列按文本读取：电子表格会把长编码变成近似数",
                code=text,
            )
        if len(text) not in cls._PARTS or not (text.isascii() and text.isdigit()):
            widths = ", ".join(map(str, sorted(cls._PARTS)))
            raise Invalid(
                f"{text!r} is not a {en}: {widths} digits are needed",
                f"{text!r} 不是{zh}：应为 {widths.replace(', ', '、')} 位数字",
                code=text,
            )
        start = 0
        for name, width in cls._PARTS[len(text)]:
            part = text[start : start + width]
            if name != "province" and not part.strip("0"):
                raise Invalid(
                    f"{text!r} is not a {en}: its {name} part is {part}",
                    f"{text!r} 不是{zh}：其 {name} 部分为 {part}",
                    code=text,
                    part=name,
                )
            start += width
        return str.__new__(cls, text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A code as people type it: spaces and hyphens between parts and full-width digits are accepted."""
        if isinstance(text, str):
            plain = unicodedata.normalize("NFKC", text)
            text = "".join(letter for letter in plain if not letter.isspace() and letter not in "-‐–")
        return cls(text)

    @property
    def parts(self) -> dict[str, str]:
        """The digits by name of the part, in order; together they are the code."""
        parts, start = {}, 0
        for name, width in self._PARTS[len(self)]:
            parts[name] = str(self[start : start + width])
            start += width
        return parts

    @property
    def spaced(self) -> str:
        """The code for people to read: its parts with spaces between (610902 001 003 017)."""
        parts = self.parts
        head = "".join(parts.pop(name, "") for name in ("province", "city", "district"))
        return " ".join([head, *parts.values()])


_DIVISION = (("province", 2), ("city", 2), ("district", 2))
_COMMUNITY = (*_DIVISION, ("street", 3), ("community", 3))


class AreaCode(_Code):
    """Code of a city (4 digits), district (6), street (9) or community (12)."""

    __slots__ = ()

    LEVELS: ClassVar[dict[int, str]] = {4: "city", 6: "district", 9: "street", 12: "community"}
    _WHAT = ("area code", "区划编码")
    _PARTS: ClassVar = {4: _COMMUNITY[:2], 6: _COMMUNITY[:3], 9: _COMMUNITY[:4], 12: _COMMUNITY}

    @classmethod
    def of_statistics(cls, text: str) -> AreaCode:
        """A statistical code of 6 or 12 digits, padded with zeros (610902001000), as the area it means."""
        digits = str(text).strip()
        for width in (12, 9, 6, 4):
            if len(digits) in (6, 12) and len(digits) > width and not digits[width:].strip("0"):
                shorter = digits[:width]
                if shorter[{12: 9, 9: 6, 6: 4, 4: 2}[width] :].strip("0"):
                    return cls(shorter)
        return cls(digits)

    @property
    def level(self) -> str:
        """city, district, street or community."""
        return self.LEVELS[len(self)]

    @property
    def parent(self) -> AreaCode | None:
        """The area one level up; None for a city."""
        above = {12: 9, 9: 6, 6: 4}.get(len(self))
        return None if above is None else AreaCode(self[:above])

    def at(self, level: str) -> AreaCode:
        """This area, or the one above it, at a level; Invalid if the level is finer or unknown."""
        width = {name: digits for digits, name in self.LEVELS.items()}.get(level)
        if width is None or width > len(self):
            raise Invalid(f"area {self} has no {level}", f"区划 {self} 没有 {level} 级", code=self)
        return AreaCode(self[:width])

    def holds(self, code: str) -> bool:
        """Whether an area or cell of this code lies in this area (every area holds itself)."""
        return code.startswith(self)


class CellCode(_Code):
    """Code of a unit grid cell (单元网格): community and a serial of 3 digits (2 in the oldest edition)."""

    __slots__ = ()

    EDITIONS: ClassVar[dict[int, str]] = {14: "CJ/T 213-2005", 15: "GB/T 30428.1-2013"}
    _WHAT = ("cell code", "单元网格编码")
    _PARTS: ClassVar = {14: (*_COMMUNITY, ("serial", 2)), 15: (*_COMMUNITY, ("serial", 3))}

    @classmethod
    def of(cls, community: str, serial: int, *, digits: int = 15) -> CellCode:
        """The code of a serial, from 1, in a community; Invalid beyond 999 (99 with 14 digits)."""
        return cls(_numbered(cls, AreaCode(community).at("community"), serial, digits))

    @classmethod
    def next_free(cls, community: str, ever_used: Iterable[str], *, digits: int = 15) -> CellCode:
        """The number after the highest ever used in the community, retired cells included.

        ever_used: codes of any community and edition; others do not count. Invalid when the serials are used
        up, even if lower numbers have become free: no number is used twice.
        """
        last = _highest(AreaCode(community).at("community"), ever_used, digits)
        return cls.of(community, last + 1, digits=digits)

    @property
    def edition(self) -> str:
        """The oldest standard with this width."""
        return self.EDITIONS[len(self)]

    @property
    def serial(self) -> int:
        """The number inside the community, from 1."""
        return int(self[12:])

    @property
    def parent(self) -> AreaCode:
        """The community."""
        return AreaCode(self[:12])

    community = parent

    @property
    def street(self) -> AreaCode:
        """The street (9 digits)."""
        return AreaCode(self[:9])

    @property
    def district(self) -> AreaCode:
        """The district (6 digits)."""
        return AreaCode(self[:6])


class ComponentCode(_Code):
    """Code of a component (部件): district, class and a serial inside class and district."""

    __slots__ = ()

    EDITIONS: ClassVar[dict[int, str]] = {16: "GB/T 30428.2-2013", 17: "GB/T 47678.5-2026"}
    _WHAT = ("component code", "部件标识码")
    _PARTS: ClassVar = {
        16: (*_DIVISION, ("major", 2), ("minor", 2), ("serial", 6)),
        17: (*_DIVISION, ("major", 2), ("minor", 3), ("serial", 6)),
    }

    @classmethod
    def of(cls, district: str, class_code: str, serial: int) -> ComponentCode:
        """The code of a serial, from 1, of a class ("C0101", or "C01001" of 2026) in a district."""
        prefix, digits = _component_prefix(district, class_code)
        return cls(_numbered(cls, prefix, serial, digits))

    @classmethod
    def next_free(cls, district: str, class_code: str, ever_used: Iterable[str]) -> ComponentCode:
        """The number after the highest ever used for the class in the district; Invalid after 999 999."""
        prefix, digits = _component_prefix(district, class_code)
        return cls(_numbered(cls, prefix, _highest(prefix, ever_used, digits) + 1, digits))

    @property
    def edition(self) -> str:
        """The newest standard with this width."""
        return self.EDITIONS[len(self)]

    @property
    def serial(self) -> int:
        """The number inside class and district, from 1."""
        return int(self[-6:])

    @property
    def class_code(self) -> str:
        """The class with its kind: C0101 (C01001 in the 2026 edition)."""
        return f"C{self[6:-6]}"

    @property
    def major_code(self) -> str:
        """The major class with its kind: C01."""
        return f"C{self[6:8]}"

    @property
    def parent(self) -> AreaCode:
        """The district."""
        return AreaCode(self[:6])

    district = parent


def _component_prefix(district: str, class_code: str) -> tuple[str, int]:
    """District and class digits, and the width of the whole code."""
    digits = class_code[1:]
    if class_code[:1] != "C" or len(digits) not in (4, 5) or not (digits.isascii() and digits.isdigit()):
        raise Invalid(
            f"{class_code!r} is not a component class: C and 4 or 5 digits are needed",
            f"{class_code!r} 不是部件类别：应为 C 加 4 或 5 位数字",
            class_code=class_code,
        )
    return AreaCode(district).at("district") + digits, 12 + len(digits)


def _numbered(kind: type[_Code], prefix: str, serial: int, digits: int) -> str:
    """Prefix and serial, padded to the width; Invalid when the width is none or the serial does not fit."""
    en, zh = kind._WHAT
    if digits not in kind._PARTS:
        raise Invalid(f"no {en} has {digits} digits", f"{zh}没有 {digits} 位的", digits=digits)
    width = digits - len(prefix)
    if not 1 <= serial < 10**width:
        raise Invalid(
            f"{prefix} has no serial {serial}: {'9' * width} is the last",
            f"{prefix} 没有序号 {serial}：最大为 {'9' * width}",
            mend="numbers are never reused; divide the parent area, or use the edition with more digits",
            mend_zh="序号不得重复使用；请拆分上级区域，或采用位数更多的版本",
            prefix=prefix,
            serial=serial,
        )
    return f"{prefix}{serial:0{width}d}"


def _highest(prefix: str, ever_used: Iterable[str], digits: int) -> int:
    """The highest serial ever used under the prefix, 0 if none."""
    used = (code for code in ever_used if len(code) == digits and code.startswith(prefix))
    return max((int(code[len(prefix) :]) for code in used), default=0)
