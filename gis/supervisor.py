"""The supervisor: a small process in a session of its own that owns one private server.

It starts PostgreSQL, says when it is ready, and ends it when the last lease is gone. If it is killed itself, the
kernel tells PostgreSQL to stop (PDEATHSIG, Linux), and the next start ends what is left. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from gis.locks import open_private
from gis.postgis import Programs, demoted

#: How a server is stopped: the signal, and how long it may take before the next one.
STOPPING = ((signal.SIGINT, 10), (signal.SIGQUIT, 15), (signal.SIGKILL, 15))
LOOK_S = 0.2  #: how often the supervisor looks whether somebody still holds a lease

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "max_locks_per_transaction": "256",
}
THROWAWAY_OPTIONS = {"shared_buffers": "256MB", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def supervise() -> None:
    """Run the server of a data folder until the last lease is gone. The supervisor's main function."""
    data, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if number != signal.SIGTERM else _stop_on_signal)
    guard = open_private(data / "supervisor.lock")
    fcntl.flock(guard, fcntl.LOCK_EX)  # an older supervisor may still be stopping its server
    lease = open_private(data / "lease")
    if _unused(lease):
        sys.exit(0)
    cluster = data / "postgresql"
    _end_orphan(cluster)
    _sweep_sockets(data)
    socket = tempfile.mkdtemp(prefix=_socket_prefix(data), dir="/tmp")
    if order["server_user"] is not None:
        os.chown(socket, order["server_user"], -1)
    _link(data / "socket", socket)
    options = {
        **OPTIONS,
        **_memory_options(),
        **(THROWAWAY_OPTIONS if order["throwaway"] else {}),
        "unix_socket_directories": socket,
    }
    programs = Programs(folder=Path(order["programs"]), major=order["major"], environment=order["environment"])
    command = [programs["postgres"], "-D", str(cluster)]
    command += [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    parent = os.getpid()

    def with_the_supervisor() -> None:
        """In the child: stop (SIGINT, fast) when the supervisor dies; if it has died already, do not start."""
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    with (data / "server.log").open("w") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=programs.run_environment(),
            preexec_fn=with_the_supervisor,
            **demoted(order["server_user"]),  # type: ignore[call-overload]
        )
    ready = False
    try:
        while server.poll() is None:
            if not ready and _is_ready(cluster, server.pid):
                state = {key: order[key] for key in ("programs", "major", "environment", "origin")}
                _write_whole(data / "server.json", json.dumps({**state, "pid": server.pid, "socket": socket}))
                ready = True
            if _unused(lease):
                break
            time.sleep(LOOK_S if ready else 0.02)
    finally:
        (data / "server.json").unlink(missing_ok=True)
        code = _stop(server)
        (data / "socket").unlink(missing_ok=True)
        shutil.rmtree(socket, ignore_errors=True)
        if order["throwaway"]:
            shutil.rmtree(data, ignore_errors=True)
    sys.exit(0 if ready and code == 0 else 1)


def _memory_options() -> dict[str, str]:
    """A quarter of the memory for shared buffers (256 MB to 8 GB), as PostgreSQL's manual advises for a server.

    Pages are taken as they are needed. An import of ten million components writes its indexes in memory then; with
    256 MB every other row pushed a page out to make room for another.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max", or no such control group
            memory = min(memory, int(Path(limit).read_text()))
    quarter_mb = memory // 4 >> 20
    return {"shared_buffers": f"{min(max(quarter_mb, 256), 8192)}MB", "effective_cache_size": f"{quarter_mb * 2}MB"}


def _unused(lease: IO[str]) -> bool:
    """Whether nobody holds a lease. If so it is ours now: whoever comes waits until this process is gone."""
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop_on_signal(number: int, frame: object) -> None:
    raise SystemExit(number)


def _is_ready(cluster: Path, pid: int) -> bool:
    """Whether this postmaster says in its pid file that it takes connections (a killed one's file says so too)."""
    with suppress(OSError, IndexError):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return lines[0].strip() == str(pid) and lines[7].strip() == "ready"
    return False


def _stop(server: subprocess.Popen[bytes]) -> int:
    """Stop a server, fast if it will, at once if it must; its exit code.

    A server that is recovering from a crash of its own never ends on SIGINT (seen with PostgreSQL 15): SIGQUIT makes it
    leave its work to the next start's recovery.
    """
    for number, patience_s in STOPPING:
        if server.poll() is None:
            server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return server.wait(timeout=patience_s)
    return server.wait()


def _end_orphan(cluster: Path) -> None:
    """Stop a postmaster of this cluster whose supervisor has gone, and wait for it."""
    for number, patience_s in STOPPING:
        pid = _postmaster(cluster)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + patience_s
        while time.monotonic() < end and _postmaster(cluster) is not None:
            time.sleep(0.05)


def _postmaster(cluster: Path) -> int | None:
    """The process that runs this cluster, or None."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError, IndexError):
        return None
    return pid if str(cluster) in command else None


def _link(path: Path, target: str) -> None:
    """A name in the data folder for the socket's folder, the same at every start: for QGIS's saved connections."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def _socket_prefix(data: Path) -> str:
    return f"wanmi-{hashlib.sha256(str(data).encode()).hexdigest()[:10]}-"


def _sweep_sockets(data: Path) -> None:
    """Remove socket folders that a killed supervisor of this data folder left (its lock is ours now)."""
    for stale in Path("/tmp").glob(_socket_prefix(data) + "*"):
        shutil.rmtree(stale, ignore_errors=True)


def _write_whole(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


if __name__ == "__main__":
    supervise()
