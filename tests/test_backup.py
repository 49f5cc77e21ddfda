"""Backup and restore: every row comes back, a bad file is refused, an interruption costs nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import api.backup
from api.backup import BESIDE, _exchange, _maintain, backup, restore
from gis.db import Access, database_name, list_databases
from gis.errors import Conflict, NotFound, Unavailable, UnfitFile
from grids.city import City
from tests.conftest import copy_database, silent

SCHEMAS = ("gis", "grids", "layers", "cases")


@pytest.fixture(scope="module")
def own_name(worker_id: str) -> str:
    """What the tests of this worker call their city."""
    return f"backup_{worker_id}"


@pytest.fixture
def city(server: Access, template: City, own_name: str) -> Iterator[str]:
    """A city of the test's own: a copy of the hamlet."""
    copy_database(server, database_name(template.id), database_name(own_name))
    yield own_name
    drop(server, own_name)


@pytest.fixture(scope="module")
def written(server: Access, template: City, own_name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of such a city."""
    copy_database(server, database_name(template.id), database_name(own_name))
    path = tmp_path_factory.mktemp("backup") / "city.tar"
    assert backup(server, path, [own_name], silent) == [own_name]
    drop(server, own_name)
    return path


@pytest.fixture
def file(written: Path, tmp_path: Path) -> Path:
    """The test's own copy of the backup."""
    (tmp_path / "backups").mkdir()
    return Path(shutil.copy(written, tmp_path / "backups" / "city.tar"))


def drop(server: Access, name: str) -> None:
    with server.maintenance() as conn:
        for database in (database_name(name), f"restoring_{name}", f"replaced_{name}"):
            conn.execute(text(f'drop database if exists "{database}" with (force)'))


def fingerprint(server: Access, city: str) -> dict[str, str]:
    """A hash of the rows of every table, and of what the tables, functions, views and comments are."""
    engine = server.engine(database_name(city))
    with engine.connect() as conn:
        tables = conn.scalars(
            text(
                "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                "where n.nspname = any (:schemas) and c.relkind = 'r' order by 1"
            ),
            {"schemas": list(SCHEMAS)},
        ).all()
        cursor = conn.connection.driver_connection.cursor()
        found = {}
        for table in tables:
            if table == "gis.version":
                continue  # a restored city has new versions, since caches hold the old ones
            digest = hashlib.sha256()
            with cursor.copy(f"copy (select t::text from {table} t order by 1) to stdout") as rows:
                for part in rows:
                    digest.update(part)
            found[table] = digest.hexdigest()
        for what, statement in {
            "columns": "select attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, "
            "attgenerated, col_description(attrelid, attnum) from pg_attribute where attnum > 0 and not attisdropped",
            "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable "
            "from pg_constraint where conrelid <> 0",
            "functions": "select oid::regprocedure::text, prosrc from pg_proc",
            "triggers": "select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
        }.items():
            rows = conn.execute(text(f"select * from ({statement}) q order by 1, 2")).all()
            kept = sorted(str(tuple(row)) for row in rows if str(row[0]).split(".")[0] in (*SCHEMAS, "served"))
            found[what] = hashlib.sha256("\n".join(kept).encode()).hexdigest()
    engine.dispose()
    return found


def change(server: Access, city: str, statement: str) -> None:
    engine = server.engine(database_name(city))
    with engine.begin() as conn:
        conn.execute(text(statement))
    engine.dispose()


def left_over(server: Access, city: str) -> list[str]:
    with server.maintenance() as conn:
        return list(
            conn.scalars(
                text("select datname from pg_database where datname = any (:names)"),
                {"names": [f"restoring_{city}", f"replaced_{city}"]},
            )
        )


# ── the round trip ────────────────────────────────────────


def test_every_row_of_every_table_comes_back(server: Access, city: str, file: Path) -> None:
    before = fingerprint(server, city)
    assert len(before) > 20
    with server.maintenance() as conn:
        conn.execute(text(f'drop database "{database_name(city)}"'))
    assert restore(server, file, replace=False, say=silent) == [city]
    assert fingerprint(server, city) == before
    assert left_over(server, city) == []


def test_a_restored_city_works_on(server: Access, city: str, file: Path) -> None:
    restore(server, file, replace=True, say=silent)
    engine = server.engine(database_name(city))
    with engine.begin() as conn:
        serial = conn.scalar(text("select nextval('cases.serial')"))
        assert serial == conn.scalar(text("select max(no % 1000000) + 1 from cases.case"))
        conn.execute(text("insert into gis.change (actor, reason) values ('a', 'b')"))
        assert conn.scalar(text("select count(*) from served.case")) == 4
    engine.dispose()


def test_replace_puts_the_old_state_back_even_while_somebody_is_connected(
    server: Access, city: str, file: Path
) -> None:
    before = fingerprint(server, city)
    change(server, city, "update layers.component set state = 'lost'")
    assert fingerprint(server, city) != before
    engine = server.engine(database_name(city))
    with engine.connect() as reader:
        reader.execute(text("select 1"))
        restore(server, file, replace=True, say=silent)
        reader.invalidate()
    engine.dispose()
    assert fingerprint(server, city) == before
    assert left_over(server, city) == []


def test_a_city_that_is_there_is_not_overwritten_unasked(server: Access, city: str, file: Path) -> None:
    change(server, city, "update layers.component set state = 'lost'")
    before = fingerprint(server, city)
    with pytest.raises(Conflict) as caught:
        restore(server, file, replace=False, say=silent)
    assert city in caught.value.en
    assert "--replace" in (caught.value.mend or "")
    assert fingerprint(server, city) == before


# ── the file ────────────────────────────────────────


def unpacked(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def packed(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_the_file_says_what_it_is_and_any_later_postgresql_can_read_it(server: Access, city: str, file: Path) -> None:
    members = unpacked(file)
    assert list(members) == ["manifest.json", f"{city}.dump"]
    manifest = json.loads(members["manifest.json"])
    assert manifest["postgresql"] == server.find_programs().major
    assert (manifest["format"], manifest["cities"]) == (1, [city])
    assert manifest["made_at"]
    assert members[f"{city}.dump"].startswith(b"PGDMP"), "the custom format of pg_dump"
    again = file.with_name("again.tar")
    backup(server, again, [city], silent)
    assert again.stat().st_mode & 0o777 == 0o600, "it holds what the database holds"
    assert {path.name for path in file.parent.iterdir()} == {file.name, again.name}, "nothing lies beside it"


def test_the_dump_holds_no_path_owner_or_password_of_this_machine(server: Access, city: str, file: Path) -> None:
    dump = file.parent / "city.dump"
    dump.write_bytes(unpacked(file)[f"{city}.dump"])
    programs = server.find_programs()
    words = [programs["pg_restore"], "--no-owner", "--no-privileges", "-f", "-", str(dump)]
    script = subprocess.run(words, capture_output=True, text=True, env=programs.run_environment(), check=True).stdout
    assert server.server is not None
    for word in (
        "OWNER TO",
        "GRANT ",
        str(server.server.folder),
        server.server.socket,
        server.server.password,
        "/usr/",
    ):
        assert word not in script
    assert server.server.password.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"not a tar at all" * 100),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(file.read_bytes()[:700]),
        lambda file: packed(file, {"readme.txt": b"hello"}),
        lambda file: packed(file, {"manifest.json": b"{"}),
        lambda file: packed(file, {"manifest.json": b"[]"}),
        lambda file: packed(file, {"manifest.json": b"{}"}),
        lambda file: packed(file, {"manifest.json": b'{"format": 99, "cities": []}'}),
        lambda file: packed(file, {"manifest.json": b'{"format": 1, "cities": ["nowhere"]}'}),
        lambda file: packed(file, {"manifest.json": b'{"format": 1, "cities": 3}'}),
        lambda file: packed(file, {"manifest.json": b'{"format": 1, "cities": ["../out"]}', "../out.dump": b"x"}),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: file.unlink(),
    ],
    ids=[
        "empty",
        "no tar",
        "cut in half",
        "cut in the manifest",
        "another tar",
        "broken manifest",
        "manifest is a list",
        "empty manifest",
        "of a newer format",
        "without its dump",
        "cities is a number",
        "with a path that escapes",
        "a folder",
        "missing",
    ],
)
def test_a_file_that_is_no_backup_is_refused_and_the_city_stays(
    server: Access, city: str, file: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(file)
    with pytest.raises(UnfitFile) as caught:
        restore(server, file, replace=True, say=silent)
    assert str(file) in caught.value.en
    assert caught.value.mend
    assert city in list_databases(server)
    assert left_over(server, city) == []


@pytest.mark.parametrize("place", [0.02, 0.5, 0.98])
def test_a_dump_with_a_damaged_byte_is_refused_and_the_city_stays(
    server: Access, city: str, file: Path, place: float
) -> None:
    before = fingerprint(server, city)
    members = unpacked(file)
    dump = bytearray(members[f"{city}.dump"])
    dump[int(len(dump) * place)] ^= 0xFF
    packed(file, {**members, f"{city}.dump": bytes(dump)})
    with pytest.raises(UnfitFile, match="damaged"):
        restore(server, file, replace=True, say=silent)
    assert fingerprint(server, city) == before
    assert left_over(server, city) == []


def test_a_backup_of_nothing_or_into_nowhere_is_refused(server: Access, city: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        backup(server, tmp_path / "x.tar", ["atlantis"], silent)
    assert "atlantis" in caught.value.en
    assert city in (caught.value.mend or "")
    with pytest.raises(UnfitFile, match="there is no folder"):
        backup(server, tmp_path / "nowhere" / "x.tar", [city], silent)
    assert list(tmp_path.iterdir()) == []


# ── interrupted ────────────────────────────────────────


def stop_at(monkeypatch: pytest.MonkeyPatch, name: str, words: str, *, before: bool) -> None:
    """Let Ctrl-C come before or after the act of ``api.backup`` whose statement or command holds these words."""
    real = getattr(api.backup, name)

    def stopped(access: Access, act: str | list[str], *rest: object) -> None:
        hit = words in (act if isinstance(act, str) else " ".join(act))
        if not (hit and before):
            real(access, act, *rest)
        if hit:
            raise KeyboardInterrupt

    monkeypatch.setattr(api.backup, name, stopped)


def test_an_interrupted_backup_leaves_the_older_file(
    server: Access, city: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()
    with monkeypatch.context() as within:
        stop_at(within, "_run", "pg_dump", before=False)
        with pytest.raises(KeyboardInterrupt):
            backup(server, file, [city], silent)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("name", "words", "before"),
    [
        ("_maintain", "create database", False),
        ("_run", "pg_restore", True),
        ("_run", "pg_restore", False),
        ("_exchange", "", True),
    ],
)
def test_an_interrupted_restore_leaves_the_old_city_and_the_next_one_completes(
    server: Access, city: str, file: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str, before: bool
) -> None:
    backed_up = fingerprint(server, city)
    change(server, city, "update layers.component set state = 'lost'")
    edited = fingerprint(server, city)
    with monkeypatch.context() as within:
        stop_at(within, name, words, before=before)
        with pytest.raises(KeyboardInterrupt):
            restore(server, file, replace=True, say=silent)
    assert city in list_databases(server)
    assert fingerprint(server, city) == edited
    assert left_over(server, city) == []
    restore(server, file, replace=True, say=silent)
    assert fingerprint(server, city) == backed_up
    assert left_over(server, city) == []


def test_cities_take_the_place_of_old_ones_all_or_none(server: Access, city: str) -> None:
    before = fingerprint(server, city)
    _maintain(server, f'create database "{BESIDE}{city}"')
    with pytest.raises(DBAPIError):
        _exchange(server, [city, "missing"], [city])
    assert fingerprint(server, city) == before
    _maintain(server, f'drop database "{BESIDE}{city}"')
    assert left_over(server, city) == []


def test_a_failing_program_is_unavailable_and_no_password_is_shown(
    server: Access, city: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = server.find_programs()
    monkeypatch.setattr(type(programs), "__getitem__", lambda self, program: "/bin/false")
    with pytest.raises(Unavailable) as caught:
        backup(server, tmp_path / "x.tar", [city], silent)
    assert server.server is not None
    assert server.server.password not in str(caught.value.problem())
    assert list(tmp_path.iterdir()) == []


def test_no_password_is_among_the_words_of_a_program(
    server: Access, city: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = subprocess.run

    def noting(words: list[str], **rest: object) -> subprocess.CompletedProcess[str]:
        seen.append(words)
        return real(words, **rest)  # type: ignore[call-overload]

    monkeypatch.setattr(api.backup.subprocess, "run", noting)
    backup(server, tmp_path / "x.tar", [city], silent)
    restore(server, tmp_path / "x.tar", replace=True, say=silent)
    assert server.server is not None
    assert {Path(words[0]).name for words in seen} >= {"pg_dump", "pg_restore"}
    assert not any(server.server.password in word for words in seen for word in words)


def test_photos_go_along_and_come_back_and_what_is_there_stays(server: Access, city: str, tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    from cases.photo import KINDS, PhotoStore, read_photo
    from tests.test_photo import jpeg

    before, after = PhotoStore(tmp_path / "before" / city), PhotoStore(tmp_path / "after" / city)
    photo = read_photo(jpeg(), zone=ZoneInfo("Asia/Shanghai"))
    before.put(photo)
    (before.folder / "ab").mkdir()
    (before.folder / "ab" / "stray").write_text("no photo")
    path = tmp_path / "with.tar"
    backup(server, path, [city], silent, lambda name: tmp_path / "before" / name)
    for _ in range(2):
        restore(server, path, replace=True, say=silent, photos=lambda name: tmp_path / "after" / name)
        assert list(after.stored()) == [photo.sha256]
        assert [after.read(photo.sha256, kind) for kind in KINDS] == [before.read(photo.sha256, kind) for kind in KINDS]
    assert not list(after.folder.glob("??/*/.*"))
