"""How people say where something is: the grammar of addresses (GB/T 37149), pinyin, first letters. Pure.

A saying is taken apart into areas, a name (or two, of a crossing), a door number, and hints such as "往南 500 米",
which never move a position.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

from pypinyin import Style, lazy_pinyin, pinyin

MOST_READINGS = 8
LONGEST = 200  #: characters of a saying that mean anything
_DIGITS = str.maketrans("零〇一二三四五六七八九", "00123456789")
_NUMBER = re.compile(
    r"(?:第)?(\d{1,5})((?:之|-)\d+|甲|乙|丙)?(?:号院|号楼|號|号|栋|幢|门牌|hao)"
    r"((?:之|-)\d+|.{0,6}(?:楼|室|层|单元|栋))?$"
)
_SPOKEN = re.compile(r"[零〇一二三四五六七八九十百]{1,5}(?=号(?:院|楼)?$)")
_BARE_NUMBER = re.compile(r"(?<=\D)(\d{1,5})$")
_METRES = re.compile(r"(?:约|大约|大概)?(\d{1,5})(?:余|多)?(?:米|m)(?:处|左右|远)?")
_SIDES = {"东": "east", "南": "south", "西": "west", "北": "north"}
_DIRECTION = re.compile(
    r"(?:往|向|以|的|朝|之)?(东北|东南|西北|西南|东|南|西|北)(?:方向|边|侧|面|头|端|部|角|口)?(?:走|行|约)?$"
)
_NEAR = re.compile(r"(?:的)?(?:附近|旁边|旁|对面|门口|门前|楼下|路边|边上|周边|一带|处|内|里|前|后|near|nearby)$")
#: What is said to be there, behind a door, a crossing or a road: 38号门口路灯, 兴安路旁的井盖.
_THING = re.compile(
    r"(?<=[号路街道巷口角旁边面前侧处近的])(?:的|一?[个根盏棵块])?"
    r"(?:路灯杆?|灯杆|红绿灯|信号灯|井盖|雨水篦子|果皮箱|垃圾[桶箱]|行道树|大?树|护栏|站牌|电线?杆|消[火防]栓|变压器|配电箱|广告牌|座椅|报刊亭)$"
)
_CROSSING = re.compile(r"(?:的)?(?:十字路口|丁字路口|交叉路口|交叉口|交汇处|交会处|交界处|路口|十字|口)$")
_AND = re.compile(r"\s*(?:与|和|跟|交|及|&|\+|/|×|、|\band\b)\s*")
_ROAD_ENDS = ("路", "街", "道", "巷", "大街", "大道", "线", "桥", "环")
_FOLDS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("ng", "n"), ("l", "n"), ("v", "u"))


@dataclass(frozen=True, kw_only=True)
class Saying:
    """A saying taken apart."""

    names: tuple[str, ...]  #: one, or the two roads of a crossing; as compared, see key
    number: int | None = None  #: door number on the road
    areas: tuple[str, ...] = ()  #: codes of the areas it names, the smallest last
    direction: str | None = None  #: a hint: south, north east …
    distance_m: int | None = None  #: a hint
    finer: bool = False  #: more was said than the number of the door: 38-2号, 57号3楼
    near: bool = False  #: "附近", "对面": not the place itself
    words: str = ""  #: what was said, trimmed


def key(name: str) -> str:
    """A name as it is compared: width and case of signs taken as one, blanks and signs left out."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", name).lower() if letter.isalnum())


@lru_cache(maxsize=200_000)
def syllables(name: str) -> tuple[str, ...]:
    """The pinyin of a name, a syllable each; what is no Chinese stays as it is."""
    return tuple(key(part) for part in lazy_pinyin(name, style=Style.NORMAL) if key(part))


def sound(name: str) -> str:
    """What a name sounds like, with what people mix up taken as one: z zh, c ch, s sh, n ng, l n."""
    return fold("".join(syllables(key(name))))


def fold(spelling: str) -> str:
    """Pinyin with what people mix up taken as one."""
    for said, one in _FOLDS:
        spelling = spelling.replace(said, one)
    return spelling


def _readings(name: str) -> list[tuple[str, ...]]:
    """The pinyin of a name as it is read, and with other readings of its letters (长 chang, zhang), a few at most."""
    usual = syllables(name)
    others = [tuple(dict.fromkeys(part)) for part in pinyin(key(name), style=Style.NORMAL, heteronym=True)]
    if len(others) != len(usual) or max(map(len, others), default=1) == 1:
        return [usual]
    return list(dict.fromkeys([usual, *islice(product(*others), MOST_READINGS)]))


def sounds_of(name: str) -> list[str]:
    """What a name may sound like: as it is read, then other readings of its letters."""
    return list(dict.fromkeys(fold("".join(parts)) for parts in _readings(key(name))))


def initials_of(name: str) -> list[str]:
    """The first letters of the pinyin of a Chinese name; numbers stay whole."""
    if name.isascii():
        return []
    return list(
        dict.fromkeys(
            "".join(one if one.isdigit() else one[0] for one in parts) for parts in _readings(key(name)) if parts
        )
    )


def is_latin(text: str) -> bool:
    """Whether a text is letters and digits of the Latin alphabet only."""
    return text.isascii() and any(letter.isalpha() for letter in text)


def take_apart(said: str, areas: Sequence[tuple[str, str]], *, short: bool = False, things: bool = False) -> Saying:
    """A saying as its parts. ``areas``: code and name of the city's areas, and "" for the province.

    ``short``: areas also without the word for their level, with which many roads begin as well. ``things``: what is
    said to be there (38号门口路灯) is left out, though it may be part of a name. What is left after areas, number and
    hints is the name; a saying of areas only is the name of the smallest.
    """
    words = unicodedata.normalize("NFKC", said).strip()[:LONGEST]
    rest = re.sub(r"[()（）,，。;；:：'’\"“”]", " ", words.lower())
    rest = re.sub(r"\s+", " " if is_latin(rest.replace(" ", "")) else "", rest).strip()
    rest, thing = _without(rest, _THING) if things else (rest, False)
    rest, direction, distance = _hints(rest)
    rest, near = _without(rest, _NEAR)
    near = near or thing
    if direction is None and near:
        rest, direction, more = _hints(rest)
        distance = distance or more
    found, rest = _areas(rest, areas, short)
    two = _two_roads(rest)
    if two:
        return Saying(
            names=tuple(key(one) for one in two),
            areas=found,
            direction=direction,
            distance_m=distance,
            near=near,
            words=words,
        )
    rest, number, finer = _door(rest)
    return Saying(
        names=(key(rest),),
        number=number,
        finer=finer,
        areas=found,
        direction=direction,
        distance_m=distance,
        near=near,
        words=words,
    )


def _without(rest: str, pattern: re.Pattern[str]) -> tuple[str, bool]:
    shorter = pattern.sub("", rest)
    return (shorter, True) if shorter and shorter != rest else (rest, False)


def _hints(rest: str) -> tuple[str, str | None, int | None]:
    """Direction and distance at the end of a saying: hints, never positions."""
    metres = _METRES.search(rest)
    distance = None
    if metres and metres.start() > 1:
        distance = int(metres[1])
        rest = (rest[: metres.start()] + rest[metres.end() :]).strip()
    side = _DIRECTION.search(rest)
    if side and side.start() > 1 and (distance is not None or side[0] != side[1]):
        direction = " ".join(_SIDES[letter] for letter in reversed(side[1]))
        return rest[: side.start()].strip(), direction, distance
    return rest, None, distance


def _areas(rest: str, areas: Sequence[tuple[str, str]], short: bool) -> tuple[tuple[str, ...], str]:
    """Names of areas at the beginning, the longest first; the last one stays when nothing else is left."""
    found: list[str] = []
    forms = [(form, code) for code, name in areas for form in (_forms(name) if short else [name.lower()])]
    forms.sort(key=lambda one: (-len(one[0]), one[1]))
    whole = {form for form, _ in forms}
    while True:
        for form, code in forms if rest not in whole else ():
            after = rest[len(form) :].lstrip()
            if rest.startswith(form) and len(after) >= 2:
                rest = after
                if code:
                    found.append(code)
                break
        else:
            return tuple(found), rest


def _forms(name: str) -> Iterable[str]:
    """A name of an area and, where it stays long enough, without the word for its level."""
    name = name.lower()
    yield name
    for level in ("街道办事处", "街道", "社区", "省", "市", "区", "县"):
        if name.endswith(level) and len(name) - len(level) >= 2:
            yield name[: -len(level)]
            return


def _two_roads(rest: str) -> tuple[str, str] | None:
    """The two roads of a crossing: "A与B交叉口", "A B路口", "A/B"."""
    shorter, said = _without(rest, _CROSSING)
    parts = [part for part in _AND.split(shorter) if part.strip()]
    if len(parts) == 2 and (said or all(key(part).endswith(_ROAD_ENDS) or is_latin(part) for part in parts)):
        return parts[0], parts[1]
    if said and len(parts) == 1:  # 兴安路金州路路口, 兴安路金州路口: cut behind the first word for a road
        for both in (shorter, rest[:-1]):
            for end in range(2, len(both) - 1):
                if both[:end].endswith(_ROAD_ENDS) and both.endswith(_ROAD_ENDS):
                    return both[:end], both[end:]
    return None


def _value(spoken: str) -> int:
    """A number in Chinese words: 五七 is 57, 三十八 is 38, 一百零六 is 106."""
    if not re.search("[十百]", spoken):
        return int(spoken.translate(_DIGITS))
    total = digit = 0
    for letter in spoken:
        if letter in "十百":
            total += (digit or 1) * (10 if letter == "十" else 100)
            digit = 0
        else:
            digit = int(letter.translate(_DIGITS))
    return total + digit


def _door(rest: str) -> tuple[str, int | None, bool]:
    """A door number at the end, with or without the word for it; whether more was said than the number."""
    spoken = _SPOKEN.sub(lambda match: str(_value(match[0])), rest)
    for pattern in (_NUMBER, _BARE_NUMBER):
        match = pattern.search(spoken)
        if match and match.start() >= 2 and 0 < int(match[1]) < 100_000:
            return spoken[: match.start()].strip(), int(match[1]), any(match.groups()[1:])
    return rest, None, False
