"""Glyphs for map labels in letters that browsers do not draw by themselves: signed distance fields from DejaVu Sans.

MapLibre draws Chinese from the reader's own fonts; other letters it asks for in ranges of 256, as Mapbox's protocol
buffer of distance fields (24 px, 3 px of margin, 8 px of reach, edge at 3/4). They are made here from the font that
comes with matplotlib, on first use, so that no font file and no outside server is needed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path as File
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from api.answers import digest, kept
from gis.errors import NotFound

router = APIRouter(tags=["tiles"])
FILES = {"DejaVu Sans": "DejaVuSans.ttf", "DejaVu Sans Bold": "DejaVuSans-Bold.ttf"}
SIZE, MARGIN, REACH, EDGE = 24, 3, 8.0, 0.25  #: pixels; how far a field reaches; what it falls to inside the edge
FINER = 4  #: letters are drawn this much larger and their field averaged
ASCENDER = 26  #: what the format measures a glyph's top from, pixels above the baseline


@router.get(
    "/fonts/{stack}/{span}.pbf",
    response_class=Response,
    responses={200: {"content": {"application/x-protobuf": {}}}},
)
def glyphs(
    request: Request,
    stack: Annotated[str, Path(max_length=200, examples=["DejaVu Sans"], description="font, or several with commas")],
    span: Annotated[
        str, Path(pattern="^[0-9]{1,5}-[0-9]{1,5}$", examples=["0-255"], description="256 characters by code")
    ],
) -> Response:
    """The glyphs of 256 characters of a font as signed distance fields."""
    first = int(span.split("-")[0])
    font = next((name for name in stack.split(",") if name.strip() in FILES), None)
    if font is None or first % 256 or int(span.split("-")[1]) != first + 255 or first > 65_280:
        raise NotFound(
            f"there are no glyphs {span} of {stack[:60]!r}",
            "没有该字体或字符区间",
            mend=f"fonts: {', '.join(FILES)}; 0-255, 256-511 …",
            mend_zh=f"可用字体:{'、'.join(FILES)};区间 0-255、256-511 …",
        )
    body = draw_range(font.strip(), first)
    return kept(request, body, "application/x-protobuf", f'"{digest(body)}"', cache="max-age=86400")


@lru_cache(maxsize=64)
def draw_range(font: str, first: int) -> bytes:
    """The protocol buffer of 256 characters; those that the font does not have are left out."""
    import matplotlib

    path = File(matplotlib.get_data_path()) / "fonts" / "ttf" / FILES[font]
    face = ImageFont.truetype(str(path), SIZE * FINER, layout_engine=ImageFont.Layout.BASIC)
    there = TTFont(path).getBestCmap()
    drawn = b"".join(_field(3, _glyph(face, code)) for code in range(max(first, 32), first + 256) if code in there)
    stack = _field(1, font.encode()) + _field(2, f"{first}-{first + 255}".encode()) + drawn
    return _field(1, stack)


def _glyph(face: ImageFont.FreeTypeFont, code: int) -> bytes:
    """One character: its id, field, size, place relative to the pen, and how far the pen moves on."""
    letter = chr(code)
    left, top, right, bottom = face.getbbox(letter, anchor="ls")
    low_x, high_x = int(np.floor(left / FINER)), int(np.ceil(right / FINER))
    low_y, high_y = int(np.floor(top / FINER)), int(np.ceil(bottom / FINER))
    width, height = high_x - low_x, high_y - low_y
    advance = round(face.getlength(letter) / FINER)
    if width <= 0 or height <= 0 or not letter.strip():
        return _number(1, code) + _number(3, 0) + _number(4, 0) + _number(5, 0) + _number(6, 0) + _number(7, advance)
    size = ((width + 2 * MARGIN) * FINER, (height + 2 * MARGIN) * FINER)
    canvas = Image.new("L", size)
    pen = ((MARGIN - low_x) * FINER, (MARGIN - low_y) * FINER)
    ImageDraw.Draw(canvas).text(pen, letter, fill=255, font=face, anchor="ls")
    inside = np.asarray(canvas) > 127
    outside_px = (distance_transform_edt(~inside) - distance_transform_edt(inside)) / FINER
    coarse = outside_px.reshape(height + 2 * MARGIN, FINER, width + 2 * MARGIN, FINER).mean(axis=(1, 3))
    field = np.clip(np.rint(255 - 255 * (coarse / REACH + EDGE)), 0, 255).astype(np.uint8)
    place = _number(5, _zigzag(low_x)) + _number(6, _zigzag(-low_y - ASCENDER))
    return (
        _number(1, code)
        + _field(2, field.tobytes())
        + _number(3, width)
        + _number(4, height)
        + place
        + _number(7, advance)
    )


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _field(tag: int, body: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(body)) + body
