"""Photos of cases: read and checked, made fit to be shown, kept by the hash of their content.

What was received is kept byte by byte as evidence; what is shown has no EXIF, XMP, IPTC or comment, is upright, and
opens in every browser (HEIC becomes JPEG). Where and when the camera says the photo was taken is read before.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from gis.errors import Invalid, NotFound, TooLarge, Unavailable

MOST_BYTES = 20 * 1024 * 1024
MOST_PIXELS = 100_000_000
SHOWN_PX, THUMBNAIL_PX = 2560, 320  #: the longer side
FORMATS = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "HEIF": "image/heic"}
FAR_M, OLD_H, AHEAD_H = 200.0, 24.0, 0.25  #: beyond these a photo is remarked upon
KEPT_S = 6 * 3600.0  #: a photo that no event names may wait so long for the one that will

Words = tuple[str, str]
Kind = Literal["original", "shown", "thumbnail"]
#: The thumbnail, what is shown, and what was received.
KINDS: tuple[Kind, ...] = ("original", "shown", "thumbnail")

register_heif_opener()
_decoding = threading.Semaphore(2)  #: a large photo takes some hundred MB while it is decoded


@dataclass(frozen=True)
class Photo:
    """A photo as received, what the camera says of it, and what may be shown."""

    sha256: str  #: of the content as received
    media_type: str
    width: int
    height: int
    original: bytes
    shown: bytes  #: JPEG without any metadata, upright, SHOWN_PX at most
    thumbnail: bytes  #: JPEG
    taken_at: datetime | None  #: aware
    lon: float | None  #: WGS 84 degrees
    lat: float | None


def read_photo(content: bytes, *, zone: ZoneInfo) -> Photo:
    """Read a JPEG, PNG or HEIC photo.

    zone : the city's; a camera's time without an offset is read in it
    Raises TooLarge beyond MOST_BYTES, Invalid for what is empty, no photo, another format, damaged, or has too many
    pixels. Any bytes whatever give a Photo or one of these.
    """
    if len(content) > MOST_BYTES:
        raise TooLarge(
            f"the photo has {len(content) / 2**20:.1f} MB; {MOST_BYTES // 2**20} MB are taken",
            f"照片为 {len(content) / 2**20:.1f} MB，最大 {MOST_BYTES // 2**20} MB",
            mend="send a smaller one",
            mend_zh="请压缩后再传",
        )
    if not content:
        raise _no_photo("it is empty", "内容为空")
    try:
        with _decoding, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damage that it can read past
            return _read(content, zone)
    except (Invalid, TooLarge):
        raise
    except Exception as error:  # decoders fail in any way on damaged bytes; whichever it is, it is no photo
        raise _no_photo(f"it cannot be read ({type(error).__name__})", "无法读取，文件可能损坏") from None


def _no_photo(en: str, zh: str) -> Invalid:
    return Invalid(
        f"this is no photo: {en}",
        f"不是有效照片：{zh}",
        mend="send a JPEG, PNG or HEIC file",
        mend_zh="请上传 JPEG、PNG 或 HEIC 文件",
        field="photo",
    )


def _read(content: bytes, zone: ZoneInfo) -> Photo:
    try:
        image: Image.Image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise _too_many_pixels("") from None
    except Exception:
        raise _no_photo("its format is not known", "格式无法识别") from None
    if image.format not in FORMATS:
        raise _no_photo(f"its format is {image.format}", f"格式为 {image.format}")
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_many_pixels(f" ({width} x {height})")
    media_type = FORMATS[image.format]
    exif = image.getexif()
    taken_at, place = _when(exif, zone), _where(exif)
    image.draft("RGB", (SHOWN_PX, SHOWN_PX))
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((SHOWN_PX, SHOWN_PX))
    flat = _flat(upright)
    small = flat.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return Photo(
        sha256=hashlib.sha256(content).hexdigest(),
        media_type=media_type,
        width=width,
        height=height,
        original=content,
        shown=_jpeg(flat, 85),
        thumbnail=_jpeg(small, 75),
        taken_at=taken_at,
        lon=None if place is None else place[0],
        lat=None if place is None else place[1],
    )


def _too_many_pixels(size: str) -> TooLarge:
    most = MOST_PIXELS // 1_000_000
    return TooLarge(
        f"the photo has more than {most} million pixels{size}",
        f"照片超过 {most} 百万像素{size}",
        mend="send a smaller one",
        mend_zh="请缩小后再传",
    )


def _flat(image: Image.Image) -> Image.Image:
    """Colours only: what is transparent lies on white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(ground, clear).convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        return image.convert("L").convert("RGB")
    return image.convert("RGB")


def _jpeg(image: Image.Image, quality: int) -> bytes:
    bare = Image.new("RGB", image.size)  # a new image: nothing of the old one's metadata can come along
    bare.paste(image)
    out = io.BytesIO()
    bare.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _when(exif: Image.Exif, zone: ZoneInfo) -> datetime | None:
    """When the camera says it was taken: with its offset, by GPS, or in the city's zone."""
    try:
        details = exif.get_ifd(0x8769)
        text = str(details.get(36867) or details.get(36868) or exif.get(306) or "").strip("\x00 ")
        local = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # its zone comes below
        offset = str(details.get(36881) or "").strip("\x00 ")
        if re.fullmatch(r"[+-]\d\d:\d\d", offset):
            return datetime.fromisoformat(f"{local.isoformat()}{offset}").astimezone(UTC)
        by_satellite = _satellite_time(exif)
        if by_satellite is not None and abs(by_satellite - local.replace(tzinfo=UTC)) < timedelta(hours=15):
            return by_satellite
        return local.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        return None


def _satellite_time(exif: Image.Exif) -> datetime | None:
    gps = exif.get_ifd(0x8825)
    try:
        day = date.fromisoformat(str(gps[29]).strip("\x00 ").replace(":", "-"))
        seconds = sum(float(part) * unit for part, unit in zip(gps[7], (3600, 60, 1), strict=True))
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)
    except (KeyError, ValueError, TypeError, ArithmeticError):
        return None


def _where(exif: Image.Exif) -> tuple[float, float] | None:
    """lon and lat that the camera says, degrees; None: none, or no place on earth."""
    gps = exif.get_ifd(0x8825)
    try:
        lat, lon = (_degrees(gps[number]) for number in (2, 4))
        lat = -lat if str(gps.get(1, "N")).upper().startswith("S") else lat
        lon = -lon if str(gps.get(3, "E")).upper().startswith("W") else lon
    except (KeyError, ValueError, TypeError, ArithmeticError):
        return None
    there = math.isfinite(lat) and math.isfinite(lon) and abs(lat) <= 90 and abs(lon) <= 180 and (lat, lon) != (0, 0)
    return (lon, lat) if there else None


def _degrees(parts: Any) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    if not (0 <= minutes < 60.001 and 0 <= seconds < 60.001):
        raise ValueError("no angle")
    return degrees + minutes / 60 + seconds / 3600


def remarks(
    *, taken_at: datetime | None, distance_m: float | None, at: datetime, accuracy_m: float | None
) -> list[Words]:
    """What is to be said of a photo beside a case: taken far off, long before, or in the future. It informs, it refuses
    nothing.

    distance_m : from the case to where the camera says it stood
    at         : when the event that names the photo was written
    """
    said: list[Words] = []
    if distance_m is not None and distance_m > FAR_M + (accuracy_m or 0.0):
        said.append((f"taken {distance_m:,.0f} m from the case", f"拍摄地点距案件 {distance_m:,.0f} 米"))
    if taken_at is not None:
        hours = (at - taken_at).total_seconds() / 3600
        if hours > OLD_H:
            said.append((f"taken {hours:,.0f} h before", f"拍摄于 {hours:,.0f} 小时之前"))
        elif hours < -AHEAD_H:
            said.append(("taken in the future, by the camera's clock", "相机时间晚于当前时间"))
    return said


class PhotoStore:
    """A folder of photos, each in a folder of its own named by the hash of its content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, photo: Photo) -> None:
        """Keep a photo: it is on disk, whole, when this returns. The same again changes nothing.

        Raises Unavailable when it cannot be written (disk full …); then nothing is half there.
        """
        home = self._home(photo.sha256)
        contents = {"thumbnail": photo.thumbnail, "shown": photo.shown, "original": photo.original}
        try:
            home.mkdir(parents=True, exist_ok=True)
            for kind, content in contents.items():  # the original last: where it is, all are
                if not (home / kind).exists():
                    _write(home / kind, content)
            os.utime(home / "original")  # named again: it waits anew for its event
            for folder in (home, home.parent, self.folder):
                _sync(folder)
        except OSError as error:
            raise Unavailable(
                f"the photo cannot be stored: {error.strerror}",
                f"照片无法保存：{error.strerror}",
                mend="free some space; the folder is WANMI_PHOTOS",
                mend_zh="请清理磁盘；目录见 WANMI_PHOTOS",
            ) from None

    def read(self, sha256: str, kind: Kind) -> bytes:
        """One of the three files of a photo. NotFound for none."""
        path = self._home(sha256) / kind
        try:
            return path.read_bytes()
        except OSError:
            raise NotFound(
                f"there is no photo {sha256}", f"没有照片 {sha256}", mend="check its hash", mend_zh="请核对编号"
            ) from None

    def stored(self) -> Iterator[str]:
        """The hashes of all photos that are whole."""
        for path in sorted(self.folder.glob("??/*/original")):
            yield path.parent.parent.name + path.parent.name

    def sweep(self, named: Container[str], *, older_than_s: float = KEPT_S) -> list[str]:
        """Remove what no event names and was not sent for some time, and what a crash left half written.

        named : the hashes that events name. Returns the hashes that were removed.
        """
        before = time.time() - older_than_s
        gone: list[str] = []
        for home in sorted(self.folder.glob("??/*")):
            sha256 = home.parent.name + home.name
            for path in home.glob(".*"):
                if path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
            if home.name.startswith("."):  # another sweep was killed here
                shutil.rmtree(home, ignore_errors=True)
            elif sha256 not in named and _newest(home) < before:
                aside = home.with_name(f".{home.name}")
                home.rename(aside)  # who sends it from now on makes it anew
                if _newest(aside) >= before and not home.exists():  # it was sent just before
                    aside.rename(home)
                    continue
                shutil.rmtree(aside, ignore_errors=True)
                gone.append(sha256)
        return gone

    def _home(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise NotFound(f"{sha256!r} names no photo", f"{sha256!r} 不是照片编号", mend="64 digits of SHA-256")
        return self.folder / sha256[:2] / sha256[2:]


def _newest(home: Path) -> float:
    """When the youngest file of a photo was written or named again."""
    return max((path.stat().st_mtime for path in home.iterdir()), default=home.stat().st_mtime)


def _write(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with beside.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
