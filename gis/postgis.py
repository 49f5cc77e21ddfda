"""Where the programs of a PostgreSQL with PostGIS come from.

Only the *programs* of the machine's PostgreSQL are used, never its clusters. Order: a system PostgreSQL that has
PostGIS, a tree unpacked before, a tree unpacked now. A data folder of a given major version is only run by
programs of that version.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from gis.errors import Unavailable
from gis.packages import Say, library_environment, unpack

OLDEST = 14
#: What the schema stands on; all of them come with Debian's PostGIS and PostgreSQL packages.
EXTENSIONS = ("postgis", "btree_gist", "pg_trgm")
SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/bin",
)


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The programs of one PostgreSQL that has PostGIS."""

    folder: Path  #: where initdb, postgres, pg_dump … lie
    major: int  #: major version of PostgreSQL
    environment: dict[str, str] = field(default_factory=dict)  #: for these programs only, never for Python
    origin: str = "system"  #: "system" or "unpacked"

    def __getitem__(self, program: str) -> str:
        """The path of one program."""
        return str(self.folder / program)

    def run_environment(self) -> dict[str, str]:
        """A clean environment for one of the programs: nothing of Python's, nothing of libpq's."""
        kept = ("PATH", "HOME", "TZ", "TMPDIR", "USER", "LOGNAME")
        here = {key: os.environ[key] for key in kept if key in os.environ}
        return {**here, "LC_ALL": "C.UTF-8", **self.environment}


def find_programs(cache: Path, say: Say, *, major: int | None = None) -> Programs:
    """The programs to run, of version ``major`` if given; unpacks a private tree when there are none.

    Raises Unavailable with the line to type when this machine has none and can get none.
    """
    for programs in _installed(cache):
        if major in (None, programs.major):
            return programs
    tree = cache / ("postgis" if major is None else f"postgis-{major}")
    pattern = rf"postgresql-{major or '[0-9]+'}-postgis-3"
    try:
        return _from_tree(unpack(pattern, tree, say, finish=_finish, sound=_sound))
    except Unavailable:
        if major is None:
            raise
    found = ", ".join(str(programs.major) for programs in _installed(cache)) or "none"
    raise Unavailable(
        f"the data folder was made by PostgreSQL {major}; this machine has: {found}",
        f"数据目录由 PostgreSQL {major} 创建,本机现有版本:{found}",
        mend=f"install PostgreSQL {major} with PostGIS beside it and run 'wanmi backup FILE'; "
        "then 'wanmi --data NEWFOLDER restore FILE'. Without the old data: choose another folder with --data",
    )


def demoted(server_user: int | None) -> dict[str, object]:
    """The arguments of subprocess that drop root to the server's user."""
    if server_user is None:
        return {}
    return {"user": server_user, "group": pwd.getpwuid(server_user).pw_gid, "extra_groups": []}


def _installed(cache: Path) -> list[Programs]:
    found = []
    for pattern in SYSTEM:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            major = _major(folder)
            if major and major >= OLDEST and _has_extensions(_share(folder, major)):
                found.append(Programs(folder=folder, major=major))
    found.sort(key=lambda programs: -programs.major)
    return found + [_from_tree(tree) for tree in sorted(cache.glob("postgis*")) if _sound(tree)]


def _major(folder: Path) -> int | None:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return None
    done = subprocess.run([str(folder / "postgres"), "--version"], capture_output=True, text=True)
    number = re.search(r"(\d+)", done.stdout)
    return int(number[1]) if done.returncode == 0 and number else None


def _share(folder: Path, major: int) -> Path:
    for share in (
        folder.parents[3] / f"share/postgresql/{major}",
        folder.parent / "share/postgresql",
        folder.parent / "share",
    ):
        if (share / "extension").is_dir():
            return share
    return folder / "nowhere"


def _has_extensions(share: Path) -> bool:
    return all((share / "extension" / f"{name}.control").exists() for name in EXTENSIONS)


def _sound(tree: Path) -> bool:
    """Whether an unpacked tree is whole, as far as a look can tell; one that is not is unpacked again."""
    wanted = ("bin/postgres", "bin/initdb", "bin/pg_dump", "lib/postgis-3.so")
    if not (tree / "ready").exists() or tree.stat().st_uid != os.geteuid():
        return False
    return all(any(tree.glob(f"usr/lib/postgresql/*/{name}")) for name in wanted)


def _from_tree(tree: Path) -> Programs:
    folder = max((tree / "usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    environment = library_environment(tree)
    return Programs(folder=folder, major=int(folder.parent.name), environment=environment, origin="unpacked")


def _finish(tree: Path) -> None:
    """Make the links that installation scripts would have made, and prove that the programs start."""
    for extension in tree.glob("usr/share/postgresql/*/extension"):
        for versioned in extension.glob("*-3.control"):
            plain = versioned.with_name(versioned.name.replace("-3.control", ".control"))
            if not plain.exists():
                plain.symlink_to(versioned.name)
    programs = _from_tree(tree)
    done = subprocess.run(
        [programs["postgres"], "--version"], capture_output=True, text=True, env=programs.run_environment()
    )
    if done.returncode or not _has_extensions(_share(programs.folder, programs.major)):
        raise Unavailable(
            f"the unpacked PostgreSQL does not start: {(done.stderr or done.stdout).strip()[-300:]}",
            "解包得到的 PostgreSQL 无法启动",
            mend="sudo apt install postgresql postgis, or set WANMI_DATABASE_URL to a server that has PostGIS",
        )
