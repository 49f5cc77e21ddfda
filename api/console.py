"""The map page and its files, from ``api/console/`` and from the wheel that carries MapLibre GL."""

from __future__ import annotations

import gzip
import threading
from importlib.util import find_spec
from pathlib import Path as File
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.answers import ASK_AGAIN, digest, kept
from gis.errors import NotFound

router = APIRouter(include_in_schema=False)
FOLDER = File(__file__).parent / "console"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
FROM_WHEEL = ("maplibre-gl.js", "maplibre-gl.css")
_lock = threading.Lock()
_packed: dict[File, tuple[float, bytes, str]] = {}  #: by file: when it was changed, gzip of it, its tag


def _wheel() -> File:
    found = find_spec("maplibre")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    return File(folders[0]) / "srcjs" if folders else FOLDER


def _file(request: Request, name: str) -> Response:
    path = (_wheel() if name in FROM_WHEEL else FOLDER) / name
    if path.suffix not in MEDIA or not path.is_file():
        raise NotFound(
            f"the page has no file {name[:80]!r}", f"页面没有文件 {name[:80]!r}", mend="open /", mend_zh="请打开 /"
        )
    changed = path.stat().st_mtime
    with _lock:
        if path not in _packed or _packed[path][0] != changed:
            body = path.read_bytes()
            _packed[path] = (changed, gzip.compress(body, 9, mtime=0), f'"{digest(body)}"')
        _, packed, tag = _packed[path]
    return kept(request, packed, MEDIA[path.suffix], tag, cache=ASK_AGAIN, zipped=True)


@router.get("/")
def page(request: Request) -> Response:
    """The map page."""
    return _file(request, "index.html")


@router.get("/console/{name}")
def file(request: Request, name: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]) -> Response:
    """A file of the page."""
    return _file(request, name)


@router.get("/favicon.ico")
def icon(request: Request) -> Response:
    """The sign in the browser's tab."""
    return _file(request, "icon.svg")
