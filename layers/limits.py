"""Limits of disposal in words (处置时限): ``4小时``, ``15天``, ``2紧急工作时`` and what else people write."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

#: How a unit may be written. Urgent ones run round the clock, 自然日 as well; 小时 and 天 in a sheet mean working time.
UNITS = {
    "urgent_hour": ("紧急工作时", "紧急工作小时", "紧急小时", "紧急时"),
    "urgent_day": ("紧急工作日", "紧急工作天", "紧急天", "紧急日", "自然日", "自然天"),
    "work_hour": ("工作时", "工作小时", "小时", "时", "h", "hour", "hours"),
    "work_day": ("工作日", "工作天", "天", "日", "d", "day", "days"),
}
WORDS_EN = {
    "urgent_hour": "urgent hours",
    "urgent_day": "urgent days",
    "work_hour": "working hours",
    "work_day": "working days",
}
MOST = 3660.0  #: units; more is no limit but a slip
_BASIS = {word: basis for basis, words in UNITS.items() for word in words}
_UNIT = "|".join(sorted(_BASIS, key=len, reverse=True))
_LIMIT = re.compile(
    rf"(?:不超过|不大于|限|在|<=|≤|<)?(?P<number>[0-9]+(?:\.[0-9]+)?|半|[一二两三四五六七八九十]+)个?(?P<unit>{_UNIT})?"
    r"(?:以内|之内|内)?"
)
_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2}


@dataclass(frozen=True)
class Limit:
    """How long disposal may take."""

    value: float  #: in units of basis, over 0
    basis: str  #: urgent_hour, urgent_day (round the clock), work_hour, work_day (by the calendar)

    @property
    def zh(self) -> str:
        """As a sheet says it: 4工作时."""
        return f"{self.value:g}{UNITS[self.basis][0]}"

    @property
    def en(self) -> str:
        """In English: 4 working hours."""
        words = WORDS_EN[self.basis]
        return f"{self.value:g} {words[:-1] if self.value == 1 else words}"


def unit_of(text: str) -> str | None:
    """The basis that a word for a unit means, or None."""
    return _BASIS.get(_plain(text).removeprefix("单位:").removeprefix("单位"))


def parse_limit(text: str, basis: str | None = None) -> Limit | None:
    """The limit that a text says, or None when it says none; a bare number is in ``basis``, if that is given."""
    found = _LIMIT.fullmatch(_plain(text))
    if found is None or not (found["unit"] or basis):
        return None
    value = _number(found["number"])
    if value is None or not 0 < value <= MOST:
        return None
    return Limit(value, _BASIS[found["unit"]] if found["unit"] else str(basis))


def _plain(text: str) -> str:
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).lower()


def _number(text: str) -> float | None:
    if text[0].isascii():
        return float(text)
    if text == "半":
        return 0.5
    tens, ten, ones = text.rpartition("十")
    if any(len(part) > 1 or part not in (*_DIGITS, "") for part in (tens, ones)):
        return None
    return float((_DIGITS[tens] if tens else 1) * 10 * bool(ten) + (_DIGITS[ones] if ones else 0))
