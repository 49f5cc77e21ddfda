"""Photos: what is shown says nothing of who took it, what is kept is whole, and no bytes whatever trip the reader."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin
from pillow_heif import from_pillow

from cases import photo as photos
from cases.photo import KINDS, PhotoStore, read_photo, remarks
from gis.errors import Invalid, NotFound, TooLarge, WanmiError
from tests.doorstep import Door, report

ZONE = ZoneInfo("Asia/Shanghai")
OWNER = b"Zhang San's own telephone 4711"


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Red above left, blue elsewhere: its way up can be seen."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, width // 2, height // 2))
    return image


def camera(orientation: int = 1, *, offset: str | None = "+08:00", taken: str = "2026:03:02 09:30:00") -> Image.Exif:
    """What a telephone writes: place, time, way up, and whose it is."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = OWNER.decode()  # artist
    exif[0x010F] = "Telephone"
    details = exif.get_ifd(0x8769)
    details[36867] = taken
    if offset:
        details[36881] = offset
    details[0xA431] = OWNER.decode()  # serial number
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (32.0, 41.0, 54.6), "E", (109.0, 1.0, 26.4)
    return exif


def jpeg(exif: Image.Exif | None = None, image: Image.Image | None = None) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, "JPEG", exif=exif or camera(), comment=OWNER, quality=95)
    return out.getvalue()


def png() -> bytes:
    out, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("Author", OWNER.decode())
    picture().convert("RGBA").save(out, "PNG", pnginfo=text, exif=camera())
    return out.getvalue()


def heic() -> bytes:
    out = io.BytesIO()
    image = picture()
    image.info["exif"] = camera().tobytes()
    from_pillow(image).save(out)
    return out.getvalue()


MADE = {"image/jpeg": jpeg, "image/png": png, "image/heic": heic}


@pytest.mark.parametrize("media", MADE)
def test_what_is_shown_has_nothing_that_the_camera_wrote(media: str) -> None:
    content = MADE[media]()
    assert OWNER in content
    found = read_photo(content, zone=ZONE)
    assert (found.media_type, found.sha256) == (media, hashlib.sha256(content).hexdigest())
    assert found.original == content
    for made in (found.shown, found.thumbnail):
        assert OWNER not in made
        assert b"Telephone" not in made
        image = Image.open(io.BytesIO(made))
        assert image.format == "JPEG"
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("media", MADE)
def test_place_and_time_are_read_before(media: str) -> None:
    found = read_photo(MADE[media](), zone=ZONE)
    assert found.taken_at == datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
    assert found.lon == pytest.approx(109.024, abs=1e-6)
    assert found.lat == pytest.approx(32.6985, abs=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_up_comes_out_upright(orientation: int) -> None:
    image = picture()
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the sensor lay: Image.Transpose that undoes it
    laid = image if orientation == 1 else image.transpose(Image.Transpose(turned[orientation]))
    exif = camera(orientation)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg(exif, laid))))
    shown = Image.open(io.BytesIO(read_photo(jpeg(exif, laid), zone=ZONE).shown))
    assert shown.size == expected.size
    corner = shown.getpixel((4, 4))
    assert isinstance(corner, tuple)
    same = expected.convert("RGB").getpixel((4, 4))
    assert isinstance(same, tuple)
    assert max(abs(a - b) for a, b in zip(corner, same, strict=True)) < 40


@pytest.mark.parametrize(
    ("offset", "taken", "at"),
    [
        (None, "2026:03:02 09:30:00", datetime(2026, 3, 2, 1, 30, tzinfo=UTC)),
        ("-05:00", "2026:03:02 09:30:00", datetime(2026, 3, 2, 14, 30, tzinfo=UTC)),
        ("nonsense", "2026:03:02 09:30:00", datetime(2026, 3, 2, 1, 30, tzinfo=UTC)),
        (None, "2026:13:45 99:99:99", None),
        (None, "    :  :     :  :  ", None),
    ],
)
def test_a_time_without_an_offset_is_the_citys(offset: str | None, taken: str, at: datetime | None) -> None:
    assert read_photo(jpeg(camera(offset=offset, taken=taken)), zone=ZONE).taken_at == at


@pytest.mark.parametrize("parts", [((99.0, 0.0, 0.0), "N"), ((200.0, 0.0, 0.0), "N"), ((1.0, 70.0, 0.0), "S")])
def test_a_place_that_is_none_is_not_told(parts: Any) -> None:
    exif = camera()
    exif.get_ifd(0x8825)[2] = parts[0]
    assert read_photo(jpeg(exif), zone=ZONE).lat is None


def test_a_large_photo_is_made_smaller_and_a_small_one_is_not_made_larger() -> None:
    found = read_photo(jpeg(image=picture(4000, 1000)), zone=ZONE)
    assert (found.width, found.height) == (4000, 1000)
    assert max(Image.open(io.BytesIO(found.shown)).size) == photos.SHOWN_PX
    assert max(Image.open(io.BytesIO(found.thumbnail)).size) == photos.THUMBNAIL_PX
    assert Image.open(io.BytesIO(read_photo(jpeg(), zone=ZONE).shown)).size == (64, 48)


def gif() -> bytes:
    out = io.BytesIO()
    picture().save(out, "GIF")
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"%PDF-1.7 ...", b"<svg xmlns='http://www.w3.org/2000/svg'/>", gif(), jpeg()[:400], png()[:90]],
)
def test_what_is_no_photo_is_refused_in_both_languages(content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        read_photo(content, zone=ZONE)
    assert caught.value.en
    assert caught.value.zh
    assert caught.value.mend


def test_too_many_bytes_or_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(TooLarge):
        read_photo(b"\xff\xd8" + b"\0" * photos.MOST_BYTES, zone=ZONE)
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    with pytest.raises(TooLarge):
        read_photo(out.getvalue(), zone=ZONE)


GOOD = {media: made() for media, made in MADE.items()}


@settings(max_examples=150, derandomize=True)
@given(media=st.sampled_from(sorted(GOOD)), data=st.data())
def test_damaged_bytes_are_a_photo_or_refused_nothing_else(media: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[media])
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    kept = bytes(content[: data.draw(st.integers(0, len(content)))] if cut == 0 else content)
    try:
        found = read_photo(kept, zone=ZONE)
    except WanmiError:
        return
    assert OWNER not in found.shown
    assert found.lon is None or abs(found.lon) <= 180


def test_what_is_far_old_or_ahead_is_remarked_upon_and_the_rest_is_not() -> None:
    at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    for taken, metres, many in ((at, 10, 0), (at, 5000, 1), (at - timedelta(days=3), 5000, 2), (None, None, 0)):
        assert len(remarks(taken_at=taken, distance_m=metres, at=at, accuracy_m=None)) == many
    assert remarks(taken_at=at + timedelta(hours=2), distance_m=None, at=at, accuracy_m=None)
    assert not remarks(taken_at=at, distance_m=500, at=at, accuracy_m=400)


# ── the store ────────────────────────────────────────


def test_what_is_put_is_read_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    store, found = PhotoStore(tmp_path / "photos"), read_photo(jpeg(), zone=ZONE)
    store.put(found)
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    store.put(found)
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before
    assert [store.read(found.sha256, kind) for kind in KINDS] == [found.original, found.shown, found.thumbnail]
    assert list(store.stored()) == [found.sha256]
    for name in ("ab" * 32, "../../etc/passwd", found.sha256.upper()):
        with pytest.raises(NotFound):
            store.read(name, "shown")


def test_only_what_no_event_names_and_is_old_is_swept_away(tmp_path: Path) -> None:
    store = PhotoStore(tmp_path)
    named, free = (read_photo(jpeg(image=picture(n, n)), zone=ZONE) for n in (20, 30))
    for one in (named, free):
        store.put(one)
    assert store.sweep({named.sha256}) == []
    old = time.time() - 2 * photos.KEPT_S
    for path in store.folder.glob("??/*/*"):
        os.utime(path, (old, old))
    store.put(free)  # sent again: it waits anew
    assert store.sweep({named.sha256}) == []
    for path in store.folder.glob("??/*/*"):
        os.utime(path, (old, old))
    assert store.sweep({named.sha256}) == [free.sha256]
    assert list(store.stored()) == [named.sha256]


def _put_many(folder: Path) -> None:
    store = PhotoStore(folder)
    for n in range(10, 10_000):
        store.put(read_photo(jpeg(image=picture(n % 400 + 10, n // 400 + 10)), zone=ZONE))


def test_killed_in_the_middle_what_is_there_is_whole(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_put_many, args=(tmp_path,))
    process.start()
    store = PhotoStore(tmp_path)
    for _ in range(600):
        if len(list(store.stored())) >= 20:
            break
        time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    there = list(store.stored())
    assert len(there) >= 20
    for sha256 in there:
        assert hashlib.sha256(store.read(sha256, "original")).hexdigest() == sha256
        Image.open(io.BytesIO(store.read(sha256, "shown"))).load()
    store.sweep(set(there), older_than_s=-1)
    assert not list(store.folder.glob("??/*/.*"))
    assert list(store.stored()) == there


# ── over HTTP ────────────────────────────────────────


def send(door: Door, content: bytes, who: str | None = "collector") -> Any:
    with door.client(who, **{"Content-Type": "application/octet-stream"}) as client:
        return client.post("/photos", content=content)


def test_a_photo_is_sent_named_and_shown_to_who_may_see_the_case(door: Door) -> None:
    sent = send(door, jpeg())
    assert sent.status_code == 201, sent.text
    told = sent.json()
    assert (told["media_type"], told["taken_at"]) == ("image/jpeg", "2026-03-02T09:30:00+08:00")
    body = report(50, 150, photos=[{"kind": "before", "sha256": told["sha256"]}], accuracy_m=5)
    case = door.post("/cases", body, "collector").json()
    (photo,) = case["events"][0]["photos"]
    assert photo["sha256"] == told["sha256"]
    assert photo["distance_m"] > 1000
    assert len(photo["remarks_en"]) == len(photo["remarks_zh"]) == 2  # far off, and long before
    shown = door.get(f"/photos/{told['sha256']}", "acceptor")
    assert shown.status_code == 200
    assert shown.headers["content-type"] == "image/jpeg"
    assert OWNER not in shown.content
    small = door.get(f"/photos/{told['sha256']}", "unit", thumbnail=True)  # WEST leads the case
    assert small.status_code == 200
    assert len(small.content) <= len(shown.content)
    assert door.get(f"/photos/{told['sha256']}").status_code == 401
    assert door.get(f"/photos/{'ab' * 32}", "acceptor").status_code == 404


def test_bad_photos_and_senders_are_refused_and_nothing_is_kept(door: Door) -> None:
    before = list(door.house.photos.stored())
    assert send(door, b"no photo").status_code == 422
    assert send(door, jpeg(), None).status_code == 401
    assert send(door, jpeg(), "planner").status_code == 403
    assert send(door, b"\xff\xd8" + b"\0" * (33 * 2**20)).status_code == 413
    assert send(door, b"").status_code == 422
    assert list(door.house.photos.stored()) == before
    named = report(50, 150, photos=[{"kind": "before", "sha256": "ef" * 32}])
    assert door.post("/cases", named, "collector").status_code == 422
