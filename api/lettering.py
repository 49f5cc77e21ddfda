"""Fonts for pictures: which to write with so that Chinese appears, and what to say when it cannot.

A bare machine has no Chinese font. Then labels are English only and the caller is told why: never empty boxes.
Nothing of matplotlib's global state is changed but its list of known fonts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple
from unicodedata import east_asian_width

from gis.errors import UnfitFile


class Notice(NamedTuple):
    """Something the person should know about what was made."""

    en: str
    zh: str


ENOUGH = 0.9  #: share of the characters wanted that makes a font usable (many have but a comma of Chinese)
#: parts of the file names of fonts that have Chinese, the better ones first
_LIKELY = (
    *("cjksc", "notosanssc", "sourcehansans", "notosanscjk", "wqy", "msyh", "pingfang", "simhei"),
    *("droidsansfallback", "heiti", "cjk", "simsun", "song", "uming", "ukai"),
)


@dataclass(frozen=True)
class Lettering:
    """The font families to write with, whether Chinese can be written, and characters no font has."""

    families: list[str]
    chinese: bool
    missing: dict[int, str] = field(default_factory=dict)
    notice: Notice | None = None

    def both(self, zh: str | None, en: str | None, between: str = "\n") -> str:
        """The two languages, or what can be written of them, as characters that the fonts have."""
        parts = [part for part in (zh if self.chinese else None, en) if part]
        return between.join(dict.fromkeys(parts)).translate(self.missing)


def lettering(texts: Iterable[str], font: Path | None = None) -> Lettering:
    """Find fonts for these texts: ``font`` if given, else the installed one that has the most of them.

    UnfitFile when the given font cannot be read.
    """
    import matplotlib

    latin = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    wanted = {ord(letter) for text in texts for letter in text if letter.isprintable()} - _letters(latin)
    found: Path | None = None
    have: set[int] = set()
    if font is not None:
        try:
            found, have = font, _letters(font)
        except (OSError, RuntimeError) as error:
            raise UnfitFile(f"{font} is not a font: {error}", f"{font} 不是可用的字体", file=font) from error
    elif wanted:
        found, have = _installed(wanted)
    if found is None or len(wanted & have) < ENOUGH * len(wanted):
        missing = dict.fromkeys(wanted, "?")
        if not wanted:
            return Lettering(["DejaVu Sans"], chinese=True)
        which = "no installed font has the characters" if font is None else f"{font.name} lacks them"
        notice = Notice(
            f"Chinese labels were left out of the picture: {which}. Install one (Debian, Ubuntu: "
            "apt install fonts-wqy-microhei) or name a font file, and draw it again.",
            "图中未绘制中文标注：没有可用的中文字体。请安装（Debian、Ubuntu：apt install fonts-wqy-microhei）"
            "或指定字体文件后重新绘制。",
        )
        return Lettering(["DejaVu Sans"], False, missing, notice)
    families = ["DejaVu Sans", _enlist(found)]
    lacking = "".join(sorted(chr(letter) for letter in wanted - have))
    if not lacking:
        return Lettering(families, chinese=True)
    notice = Notice(
        f"the font {found.name} lacks {lacking}: printed as ?", f"字体 {found.name} 缺字：{lacking}，以 ? 代替"
    )
    return Lettering(families, True, dict.fromkeys(wanted - have, "?"), notice)


def wrapped(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns; a Chinese character takes two and may begin a line.

    No line begins with a mark that ends a clause, none ends with an opening bracket.
    """
    pieces = re.findall(r"[（《“]*[⺀-鿿＀-￯、。](?:[，。；：、）》”！？])*|[^\s⺀-鿿＀-￯、。]+|\s+", text)
    lines, line = [], ""
    for piece in pieces:
        if line and _columns(line + piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        line = line + piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() else lines


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _enlist(font: Path) -> str:
    """Make the font known to matplotlib, also as its own bold where it has none (else every title is a complaint)."""
    from matplotlib import font_manager

    manager, name = font_manager.fontManager, font_manager.FontProperties(fname=str(font)).get_name()
    if not any(entry.name == name and Path(entry.fname) == font for entry in manager.ttflist):
        manager.addfont(font)
    same = [entry for entry in manager.ttflist if entry.name == name]
    if all(entry.weight in range(600) for entry in same):
        manager.ttflist.append(replace(same[-1], weight=700))
    return name


def _letters(font: Path) -> set[int]:
    """The characters of a font file."""
    from matplotlib.ft2font import FT2Font

    return set(FT2Font(str(font)).get_charmap())


def _installed(wanted: set[int]) -> tuple[Path | None, set[int]]:
    """The installed font with the most of the wanted characters, likely names first; None if none has any.

    Asks the system anew each time: matplotlib's own list is a cache that does not see a font just installed.
    """
    from matplotlib import font_manager

    def rank(path: str) -> tuple[int, str]:
        plain = Path(path).name.lower().replace("-", "").replace("_", "")
        place = next((place for place, hint in enumerate(_LIKELY) if hint in plain), len(_LIKELY))
        return place + (0 if "regular" in plain or "bold" not in plain else 100), path

    best: tuple[Path | None, set[int]] = (None, set())
    for path in sorted(font_manager.findSystemFonts(), key=rank):
        try:
            have = _letters(Path(path))
        except (OSError, RuntimeError):
            continue  # a broken font of the system is no reason to fail
        if len(have & wanted) > len(best[1] & wanted):
            best = Path(path), have
        if wanted <= have:
            break
    return best
