"""Zip files of strangers: looked through before anything is unpacked, and unpacked into a folder of our own.

Names of members are read as UTF-8 or GBK (Chinese Windows writes GBK without saying so). What is refused: members
that would land outside the folder, links, encrypted ones, archives inside the archive, and more than
MOST_UNPACKED_BYTES or a ratio that only a bomb has.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath
from zlib import error as ZlibError

from gis.errors import UnfitFile, unfit, unreadable

MOST_UNPACKED_BYTES = 8 * 2**30  #: of a zip file
MOST_MEMBERS = 10_000
_BOMB_RATIO = 200  #: texts of coordinates pack some 10 to 30 times, blank attribute tables up to 150
_BOMB_BYTES = 64 * 2**20  #: below this any ratio is harmless
_NESTED = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".kmz")
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")
_UTF8_FLAG = 0x800


def looked_through(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip file by name, none of them unpacked; UnfitFile if it is none or is not to be trusted."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as bad:
        raise unreadable(path, bad) from bad
    if len(members) > MOST_MEMBERS:
        raise _refused(path, f"holds {len(members):,} members", f"内含 {len(members):,} 个成员")
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = _name(member)
        if any(part in _IGNORED or part.startswith("._") for part in PurePosixPath(name).parts):
            continue
        _want_harmless(path, name, member)
        if not member.is_dir():
            found[name] = member
    size = sum(member.file_size for member in found.values())
    packed = max(1, sum(member.compress_size for member in found.values()))
    if size > MOST_UNPACKED_BYTES or (size > _BOMB_BYTES and size > _BOMB_RATIO * packed):
        raise _refused(
            path,
            f"would unpack from {packed:,} to {size:,} bytes, as only a zip bomb does or no census needs",
            f"解压后由 {packed:,} 字节变为 {size:,} 字节，疑为压缩炸弹或过大",
        )
    return found


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip file that is harmless into ``folder``, which is returned. Raises as looked_through."""
    found = looked_through(path)
    nested = next((name for name in found if name.lower().endswith(_NESTED)), None)
    if nested is not None:
        raise _refused(
            path, f"holds another archive, {nested}", f"内含另一个压缩文件 {nested}", "unpack it", "请先解压"
        )
    if shutil.disk_usage(folder).free < sum(member.file_size for member in found.values()):
        raise unreadable(path, f"there is no room to unpack it in {folder}", f"{folder} 空间不足，无法解压")
    try:
        with zipfile.ZipFile(path) as archive:
            for name, member in found.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (zipfile.BadZipFile, ZlibError, EOFError, OSError, RuntimeError, NotImplementedError) as bad:
        raise unreadable(path, bad) from bad
    return folder


def _name(member: zipfile.ZipInfo) -> str:
    """The member's name: UTF-8 if it says so or is, else GBK, else as zipfile reads it."""
    if member.flag_bits & _UTF8_FLAG:
        return member.filename
    raw = member.filename.encode("cp437", errors="replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return member.filename


def _want_harmless(path: Path, name: str, member: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name or "\\" in name or "\0" in name:
        raise _refused(path, f"holds a path that leads outside of it: {name!r}", f"内含指向压缩包之外的路径：{name!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _refused(path, f"holds a link, {name!r}", f"内含符号链接 {name!r}")
    if member.flag_bits & 1:
        raise _refused(path, "is locked by a password", "已加密", "unpack it", "请先解压")


def _refused(path: Path, en: str, zh: str, mend: str = "", mend_zh: str = "") -> UnfitFile:
    return unfit(
        path,
        f"{en}; it was not unpacked",
        f"{zh}；未予解压",
        mend=f"{mend or 'unpack it where you trust it'} and give the file that is inside",
        mend_zh=f"{mend_zh or '请在可信环境中解压'}，再提供其中的文件",
    )
