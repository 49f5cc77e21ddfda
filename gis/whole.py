"""Whether a file is all there: formats that GDAL reads as far as they go, without a word about what comes after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from gis.errors import unreadable

_PART = 1 << 20
_RECORD = b"\x1e"  #: separates the features of a GeoJSON text sequence (RFC 8142), if anything but ends of lines does


def want_whole(said: Path, file: Path) -> None:
    """UnfitFile (about ``said``) if a shapefile, GML, DXF or GeoJSONSeq file breaks off or is broken inside."""
    checks = {
        ".shp": _shapefile,
        ".gml": _xml,
        ".dxf": _dxf,
        ".geojsonl": _lines,
        ".geojsons": _lines,
        ".ndjson": _lines,
    }
    check = checks.get(file.suffix.lower())
    fault = check(file) if check is not None else None
    if fault is not None:
        raise unreadable(said, f"it breaks off {fault[0]}", f"文件不完整或已损坏：{fault[1]}")


Fault = tuple[str, str] | None  #: where, English and Chinese


def _shapefile(file: Path) -> Fault:
    table = next(one for one in file.parent.iterdir() if one.stem == file.stem and one.suffix.lower() == ".dbf")
    with file.open("rb") as shapes, table.open("rb") as records:
        shape, head = shapes.read(100), records.read(32)
        sizes = os.fstat(shapes.fileno()).st_size, os.fstat(records.fileno()).st_size
    if len(shape) < 100 or 2 * int.from_bytes(shape[24:28], "big") > sizes[0]:
        return "before the end of its .shp", ".shp 未到结尾"
    rows, start, wide = (int.from_bytes(head[a:b], "little") for a, b in ((4, 8), (8, 10), (10, 12)))
    if len(head) < 32 or start + rows * wide > sizes[1]:
        return "before the end of its .dbf", ".dbf 未到结尾"
    return None


def _xml(file: Path) -> Fault:
    """Well-formed, and without a document type, whose entities may grow without bounds."""

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = stop
    try:
        with file.open("rb") as content:
            parser.ParseFile(content)
    except expat.ExpatError as bad:
        return f"in line {bad.lineno}: {expat.errors.messages[bad.code]}", f"第 {bad.lineno} 行"
    except Stopped:
        return "at a document type (<!DOCTYPE>), which is not read", "含 <!DOCTYPE>，不予读取"
    return None


def _dxf(file: Path) -> Fault:
    """Pairs of a group code and a value, the last of which is the end."""
    with file.open("rb") as content:
        if content.read(18) == b"AutoCAD Binary DXF":
            return None
        content.seek(0)
        last = b""
        for number, (code, value) in enumerate(zip(content, content, strict=False)):
            try:
                int(code)
            except ValueError:
                return f"in line {2 * number + 1}", f"第 {2 * number + 1} 行"
            last = value
    return None if last.strip() == b"EOF" else ("before its end", "未到结尾")


def _lines(file: Path) -> Fault:
    with file.open("rb") as content:
        if _RECORD in content.read(_PART):
            return None  # features may be of many lines: see records_of
        content.seek(0)
        return _last(content)


def _last(content: BinaryIO) -> Fault:
    content.seek(max(0, os.fstat(content.fileno()).st_size - _PART))
    last = content.read().rstrip().rpartition(b"\n")[2]
    if len(last) >= _PART - 2:
        return None if last.endswith(b"}") else ("in its last line", "最后一行")
    try:
        json.loads(last)
    except ValueError:
        return "in its last line", "最后一行"
    return None


def records_of(file: Path) -> int:
    """The features that a GeoJSON text sequence ought to have: its records, or its lines that are not blank."""
    with file.open("rb") as content:
        if _RECORD in content.read(_PART):
            content.seek(0)
            return sum(part.count(_RECORD) for part in iter(lambda: content.read(_PART), b""))
        content.seek(0)
        return sum(1 for line in content if line.strip())
