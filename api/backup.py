"""Backup and restore: every city's database as a dump that any later PostgreSQL can read, in one file.

The file is a tar: ``manifest.json``, one custom-format dump of pg_dump for each city, and the photos of its cases. It
is made beside its place and renamed; a restore fills a database beside and renames it, so that neither leaves anything
half done. Photos are named by their content: bringing them back only adds what is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from gis.db import Access, database_name, list_databases
from gis.errors import Conflict, NotFound, Unavailable, UnfitFile
from gis.packages import Say
from gis.settings import CITY_NAME

FORMAT = 1
PHOTO_FILES = ("original", "shown", "thumbnail")  #: as cases/photo.py keeps them
BESIDE, OLD = "restoring_", "replaced_"  #: what a database is called while it is filled, and when it is replaced
PhotosOf = Callable[[str], Path] | None
DISCONNECT = text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name")


def backup(access: Access, file: Path, cities: list[str], say: Say, photos: PhotosOf = None) -> list[str]:
    """Write the databases of ``cities`` (all when empty) and their photos to ``file``; returns the cities.

    photos : the folder of a city's photos (Settings.photos_of); None: without them

    Raises NotFound when there is none, Unavailable when pg_dump fails (disk full …).
    """
    there = list_databases(access)
    missing = [city for city in cities if city not in there]
    if missing or not there:
        raise NotFound(
            f"no database of {', '.join(missing) or 'any city'} on this server",
            "服务器上没有该城市的数据库",
            mend=f"choose one of: {', '.join(there)}" if there else "run 'wanmi demo' first, or check --data",
        )
    cities = cities or there
    programs = access.find_programs()
    with _scratch(file.absolute().parent) as folder:
        for city in cities:
            say(f"dumping {city}", f"正在备份 {city}")
            dump = folder / f"{city}.dump"
            database = database_name(city)
            _run(
                access, [programs["pg_dump"], "-Fc", "-Z6", "--no-owner", "--no-privileges", "-f", str(dump)], database
            )
        manifest = {
            "format": FORMAT,
            "made_at": datetime.now(UTC).isoformat(),
            "postgresql": programs.major,
            "cities": cities,
            "sha256": {city: _hash(folder / f"{city}.dump") for city in cities},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
        part = folder / "backup.tar"
        with tarfile.open(part, "w") as tar:
            for name in ("manifest.json", *(f"{city}.dump" for city in cities)):
                tar.add(folder / name, arcname=name)
            for city in cities:  # after the dump: what it names was there before
                for path in sorted(photos(city).glob("??/*/*")) if photos is not None else ():
                    if path.name in PHOTO_FILES:
                        sha256 = path.parent.parent.name + path.parent.name
                        tar.add(path, arcname=f"photos/{city}/{sha256}/{path.name}")
        part.chmod(0o600)
        part.replace(file)
    return cities


def restore(access: Access, file: Path, *, replace: bool, say: Say, photos: PhotosOf = None) -> list[str]:
    """Bring the cities of a backup back, and their photos; returns the cities.

    photos : the folder of a city's photos (Settings.photos_of); None: without them

    Raises UnfitFile for a file that is no backup, Conflict when a city is there and ``replace`` is not given.
    """
    programs = access.find_programs()
    with _scratch(access.server.folder if access.server else Path(tempfile.gettempdir())) as folder:
        manifest = _unpacked(file, folder)
        there = [city for city in manifest["cities"] if city in list_databases(access)]
        if there and not replace:
            raise Conflict(
                f"{', '.join(there)} would be overwritten",
                f"将覆盖已有城市:{', '.join(there)}",
                mend="add --replace, or restore into another folder: wanmi --data FOLDER restore FILE",
            )
        command = [programs["pg_restore"], "--no-owner", "--no-privileges", "--exit-on-error", "-d"]
        try:
            for city in manifest["cities"]:
                say(f"restoring {city}", f"正在恢复 {city}")
                _maintain(access, f'drop database if exists "{BESIDE}{city}" with (force)')
                _maintain(access, f'create database "{BESIDE}{city}" encoding utf8 template template0')
                _run(access, [*command, access.url(BESIDE + city), str(folder / f"{city}.dump")], BESIDE + city)
                _renew_versions(access, BESIDE + city)
            if photos is not None:
                _bring_photos(file, manifest["cities"], photos)
            _exchange(access, manifest["cities"], there)
        finally:
            for city in manifest["cities"]:
                _maintain(access, f'drop database if exists "{BESIDE}{city}" with (force)')
        for city in there:
            _maintain(access, f'drop database if exists "{OLD}{city}"')
    return list(manifest["cities"])


def _bring_photos(file: Path, cities: list[str], photos: Callable[[str], Path]) -> None:
    """Add the photos of a backup that are not there; each is whole when its name is there."""
    named = rf"photos/({CITY_NAME})/([0-9a-f]{{2}})([0-9a-f]{{62}})/({'|'.join(PHOTO_FILES)})"
    with tarfile.open(file) as tar:
        for member in tar:
            found = re.fullmatch(named, member.name)
            content = tar.extractfile(member) if found and found[1] in cities else None
            if found is None or content is None:
                continue
            place = photos(found[1]) / found[2] / found[3] / found[4]
            if place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f".{place.name}.restored")
            with beside.open("wb") as out:
                shutil.copyfileobj(content, out)
            beside.replace(place)


def _renew_versions(access: Access, database: str) -> None:
    """Versions of layers that nobody has seen: what caches hold of the same numbers may be other rows."""
    engine = access.engine(database)
    try:
        with engine.begin() as conn:
            if conn.execute(text("select to_regclass('gis.version')")).scalar_one() is not None:
                conn.execute(text("update gis.version set n = n + floor(random() * 1e12)::bigint where shard = 0"))
    finally:
        engine.dispose()


def _exchange(access: Access, cities: list[str], there: list[str]) -> None:
    """Put the filled databases in the place of the old ones, all in one transaction: all or none."""
    for city in there:
        _maintain(access, f'drop database if exists "{OLD}{city}"')
    engine = access.engine(str(access.address.database))
    try:
        with engine.begin() as conn:
            for city in cities:
                database = database_name(city)
                if city in there:
                    conn.execute(DISCONNECT, {"name": database})
                    conn.execute(text(f'alter database "{database}" rename to "{OLD}{city}"'))
                conn.execute(text(f'alter database "{BESIDE}{city}" rename to "{database}"'))
    finally:
        engine.dispose()


def _unpacked(file: Path, folder: Path) -> dict[str, Any]:
    if not file.exists():
        raise UnfitFile(f"there is no file {file}", f"文件 {file} 不存在", mend="correct the path", file=file)
    try:
        with tarfile.open(file) as tar:
            manifest: dict[str, Any] = json.loads(_member(tar, "manifest.json").read())
            for city in manifest["cities"]:
                if not re.fullmatch(CITY_NAME, city):
                    raise ValueError(f"{city!r} is no city's name")
                with (folder / f"{city}.dump").open("wb") as dump:
                    shutil.copyfileobj(_member(tar, f"{city}.dump"), dump)
        if manifest["format"] != FORMAT or not manifest["cities"]:
            raise ValueError("its manifest does not fit")
        if {city: _hash(folder / f"{city}.dump") for city in manifest["cities"]} != manifest["sha256"]:
            raise ValueError("a dump in it is not as it was written")
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno == 28:
            raise
        raise UnfitFile(
            f"{file} is no backup of Wanmi, or it is damaged ({error})",
            f"{file} 不是 Wanmi 备份,或已损坏",
            mend="choose a file written by 'wanmi backup'",
            file=file,
        ) from None
    return manifest


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """A plain file of the archive by its exact name; whatever else it holds is never unpacked."""
    content = tar.extractfile(name)
    if content is None:
        raise ValueError(f"{name} is no file")
    return content


def _hash(dump: Path) -> str:
    with dump.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    if not beside.is_dir():
        raise UnfitFile(f"there is no folder {beside}", f"目录 {beside} 不存在", mend="make it first", folder=beside)
    for stale in beside.glob(".wanmi-*-*"):
        _, pid, _ = stale.name.split("-", 2)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():  # its command was killed
            shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".wanmi-{os.getpid()}-", dir=beside) as folder:
        yield Path(folder)


def _run(access: Access, command: list[str], database: str) -> None:
    """Run a program of PostgreSQL; its password goes by the environment, never by the command line."""
    url = make_url(access.url(database))
    password = url.password or ""
    public = url._replace(password=None).render_as_string(hide_password=False)
    words = [public if word == access.url(database) else word for word in command]
    if words == command:
        words += ["-d", public]
    environment = {**access.find_programs().run_environment(), "PGPASSWORD": str(password)}
    environment |= {key: value for key, value in os.environ.items() if key.startswith("PGSSL")}
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=environment, cwd="/")
    if done.returncode:
        tail = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise Unavailable(
            f"{Path(command[0]).name} failed: {tail}",
            f"{Path(command[0]).name} 执行失败",
            mend="free some space and run it again; nothing is half done",
        )


def _maintain(access: Access, statement: str) -> None:
    with access.maintenance() as conn:
        conn.execute(text(statement))
