"""The Chromium that tests drive: the machine's own, else the distribution's, unpacked into the cache folder.

Nothing is installed, and nothing of the user's own browser is read or written: home, fonts and libraries are those
that :class:`Chromium` names, for this process only. WebGL2 is drawn by the processor and letters by the same
fonts on every machine; nothing but the loopback can be reached.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from api.demo import chinese_font
from api.lettering import lettering
from gis.packages import Say, Wanted, library_environment, unpack

#: The programs themselves where that is known: the start scripts in front of them read the machine's own settings.
INSTALLED = (
    *("/usr/lib/chromium/chromium", "/usr/lib64/chromium-browser/chromium-browser", "/opt/google/chrome/chrome"),
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
UNPACKED = "usr/lib/chromium/chromium"
WANTED = Wanted(
    en="Chromium", zh="Chromium 浏览器", mend="sudo apt install chromium   (Fedora: sudo dnf install chromium)"
)
LIBATOMIC = Wanted(
    en="libatomic, which Playwright needs",
    zh=" Playwright 所需的 libatomic",
    mend="sudo apt install libatomic1   (Fedora: sudo dnf install libatomic)",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"),
    # WebGL2 without a graphics card
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    # nothing asked of the network by the browser itself …
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
    *("--disable-quic", "--disable-breakpad", "--disable-default-apps", "--no-default-browser-check"),
    # … nor by a page: every host but the loopback is unknown
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]",
    # the same picture on every machine
    *("--force-color-profile=srgb", "--font-render-hinting=none", "--lang=en-US"),
)
#: A family that is not there, or none, is sans-serif.
EVERY_FAMILY = '<match><edit name="family" mode="append_last" binding="same"><string>sans-serif</string></edit></match>'
SANS, MONO = "WenQuanYi Micro Hei", "WenQuanYi Micro Hei Mono"


@dataclass(frozen=True, kw_only=True)
class Chromium:
    """A Chromium that starts: what to run, with which flags, in which environment."""

    program: Path
    version: str
    origin: str  #: "installed" or "unpacked"
    environment: dict[str, str]  #: the whole of it, for this process only
    driver: dict[str, str]  #: what Playwright's own process needs besides the tests' environment
    chinese: bool  #: whether there is a font to write Chinese with
    flags: tuple[str, ...] = FLAGS


def find_chromium(cache: Path, home: Path, say: Say) -> Chromium:
    """A Chromium at home in the folder ``home``; unpacked into ``cache``, once, when the machine has none.

    Raises Unavailable, with the line to type, where it, or what drives it, is not there and cannot be fetched.
    """
    program, tree = _installed(), None
    if program is None:
        tree = unpack("chromium", cache / "chromium", say, wanted=WANTED, finish=_prove, sound=_sound)
        program = tree / UNPACKED
    libraries = {} if tree is None else _libraries(tree)
    driver = _driver(cache, say)
    font = _installed_font() or chinese_font(cache)
    return Chromium(
        program=program,
        version=_version(program, libraries) or "",
        origin="installed" if tree is None else "unpacked",
        environment={**_environment(home), **libraries, "FONTCONFIG_FILE": str(_write_fonts(home, font))},
        driver=driver,
        chinese=font is not None or lettering(["万米单元网格"]).chinese,
    )


def _installed() -> Path | None:
    """The first installed browser that starts and is not a snap (which sees no folder but its own)."""
    for name in INSTALLED:
        program = shutil.which(name)
        if program and (version := _version(Path(program), {})) and "snap" not in version:
            return Path(program)
    return None


def _version(program: Path, libraries: dict[str, str]) -> str | None:
    """What the browser says of itself, or None when it does not start."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, env={**os.environ, **libraries}, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 and re.search(r"Chrom\w+ \d+\.", done.stdout) else None


def _sound(tree: Path) -> bool:
    """Whether an unpacked tree is whole, as far as a look can tell; one that is not is unpacked again."""
    wanted = ("ready", UNPACKED, "usr/lib/chromium/icudtl.dat", "usr/lib/chromium/resources.pak")
    return all((tree / name).exists() for name in wanted) and tree.stat().st_uid == os.geteuid()


def _prove(tree: Path) -> None:
    """That the unpacked browser starts. One that does not is a fault of ours, no lack of the machine's."""
    if _version(tree / UNPACKED, _libraries(tree)) is None:
        shown = {**os.environ, **_libraries(tree)}
        done = subprocess.run([tree / UNPACKED, "--version"], capture_output=True, text=True, env=shown, timeout=60)
        raise RuntimeError(f"the unpacked Chromium does not start: {(done.stderr or done.stdout).strip()[-300:]}")


def _libraries(tree: Path) -> dict[str, str]:
    """Where the unpacked programs find their libraries, those in folders of their own (PulseAudio's, NSS's) too."""
    own = [path for name in ("pulseaudio", "nss") for path in sorted(tree.glob(f"usr/lib/*-linux-gnu*/{name}"))]
    return {"LD_LIBRARY_PATH": ":".join([library_environment(tree)["LD_LIBRARY_PATH"], *map(str, own)])}


def _driver(cache: Path, say: Say) -> dict[str, str]:
    """What starts the Node.js that comes with Playwright: it wants a library that a bare machine does not have."""
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        return _libraries(unpack("libatomic1", cache / "libatomic", say, wanted=LIBATOMIC))
    return {}


def _environment(home: Path) -> dict[str, str]:
    """What a browser needs of the world, with a home of its own and nobody to talk to."""
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "TZ") if key in os.environ}
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA")}
    return {**kept, **folders, "HOME": str(home), "LANG": "C.UTF-8", "DBUS_SESSION_BUS_ADDRESS": "disabled:"}


def _installed_font() -> Path | None:
    return next(iter(sorted(Path("/usr/share/fonts").rglob("wqy-microhei.ttc"))), None)


def _write_fonts(home: Path, font: Path | None) -> Path:
    """A configuration of fontconfig with which everything is written in ``font``, and in matplotlib's DejaVu what it
    lacks; without a font in whatever the machine has.
    """
    import matplotlib

    folder = home / "fonts"
    folder.mkdir(parents=True, exist_ok=True)
    latin = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuSans*.ttf"))
    for path in [*latin, *([font] if font else [])]:
        (folder / path.name).unlink(missing_ok=True)
        (folder / path.name).symlink_to(path)
    lines = [f"<dir>{escape(str(folder))}</dir>", f"<cachedir>{escape(str(home / 'fontcache'))}</cachedir>"]
    if font is None:
        lines.append('<include ignore_missing="yes">/etc/fonts/fonts.conf</include>')
    lines.append(EVERY_FAMILY)
    for family, first, second in (
        ("sans-serif", SANS, "DejaVu Sans"),
        ("serif", SANS, "DejaVu Sans"),
        ("system-ui", SANS, "DejaVu Sans"),
        ("monospace", MONO, "DejaVu Sans Mono"),
    ):
        preferred = f"<family>{first}</family><family>{second}</family>"
        lines.append(f'<alias binding="same"><family>{family}</family><prefer>{preferred}</prefer></alias>')
    configuration = home / "fonts.conf"
    configuration.write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig>\n'
        + "".join(f"  {line}\n" for line in lines)
        + "</fontconfig>\n"
    )
    return configuration
