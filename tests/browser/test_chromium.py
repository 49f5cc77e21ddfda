"""The browser itself: draws WebGL2 and Chinese, asks nothing of any network, leaves the tests' Python alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.machine import Chromium

#: A green triangle over the lower left half of a red canvas.
TRIANGLE = r"""
() => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 64;
  const gl = canvas.getContext('webgl2');
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, 'void main() { gl_Position = vec4(2 * (gl_VertexID & 1) - 1, (gl_VertexID & 2) - 1, 0, 1); }'],
    [gl.FRAGMENT_SHADER, 'out vec4 colour; void main() { colour = vec4(0, 1, 0, 1); }'],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, '#version 300 es\nprecision highp float;\n' + source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  gl.clearColor(1, 0, 0, 1);
  gl.clear(gl.COLOR_BUFFER_BIT);
  gl.drawArrays(gl.TRIANGLES, 0, 3);
  const pixel = new Uint8Array(4);
  const at = (x, y) => { gl.readPixels(x, y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); return [...pixel]; };
  return { inside: at(8, 8), outside: at(60, 60), error: gl.getError() };
}
"""
#: The ink of each letter, 0 or 1 for each pixel. What no font has is a box, the same one for all such letters.
INK = """
([letters, family]) => letters.map(letter => {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 40;
  const pen = canvas.getContext('2d');
  pen.font = '32px ' + family;
  pen.textBaseline = 'top';
  pen.fillText(letter, 4, 4);
  const pixels = pen.getImageData(0, 0, 40, 40).data;
  return Array.from({ length: 1600 }, (_, i) => pixels[4 * i + 3] > 127 ? 1 : 0).join('');
})
"""
UNASSIGNED = "\u0378"  #: a letter that Unicode does not have
FETCH = "address => fetch(address).then(answer => answer.text()).catch(() => 'failed')"
PAGE = "<title>万米</title>"
OUTSIDE = ("http://example.org/", "https://example.org/", "http://192.0.2.1/", "http://[2001:db8::1]/")


def test_webgl2_is_drawn(tab: Page) -> None:
    drawn = tab.evaluate(TRIANGLE)
    assert drawn == {"inside": [0, 255, 0, 255], "outside": [255, 0, 0, 255], "error": 0}


@pytest.mark.parametrize("family", ["sans-serif", "serif", "monospace", "system-ui", "'No Such Font'"])
def test_chinese_is_written_and_no_boxes(tab: Page, chromium: Chromium, family: str) -> None:
    if not chromium.chinese:
        pytest.skip("this machine has no font with Chinese, and no apt to fetch one with")
    letters = "万米单元网格"
    inks = tab.evaluate(INK, [[*letters, UNASSIGNED], family])
    assert len(set(inks)) == len(letters) + 1
    for letter, ink in zip(letters, inks, strict=False):
        assert ink.count("1") > 60, letter


@pytest.fixture
def loopback() -> Iterator[str]:
    """The address of a server on this machine that always answers 万米."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # whose connections stay open

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", str(len(PAGE.encode())))
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_loopback_answers_and_nothing_else_is_asked(tab: Page, loopback: str) -> None:
    tab.goto(loopback)
    assert tab.title() == "万米"
    assert tab.evaluate(FETCH, loopback.replace("127.0.0.1", "localhost")) == PAGE
    refused: dict[str, str | None] = {}
    tab.on("requestfailed", lambda request: refused.update({request.url: request.failure}))
    for address in OUTSIDE:
        assert tab.evaluate(FETCH, address) == "failed"
    assert refused == dict.fromkeys(OUTSIDE, "net::ERR_NAME_NOT_RESOLVED")
    tab.wait_for_timeout(1000)  # time for the browser to ask something of its own accord
    started = browser_process()
    peers = {peer for process in (started, *descendants(started)) for peer in connected(process)}
    assert peers, "the browser's own connection to the server is not seen"
    assert not {peer for peer in peers if not peer.is_loopback}


def test_what_browser_and_driver_need_is_not_set_for_python(tab: Page, chromium: Chromium) -> None:
    needed = {**chromium.environment, **chromium.driver}
    for name in ("LD_LIBRARY_PATH", "FONTCONFIG_FILE", "HOME", "XDG_CONFIG_HOME"):
        assert name not in needed or os.environ.get(name) != needed[name], name
    assert not [name for name in chromium.environment if name.startswith(("PYTHON", "PYTEST", "WANMI"))]


def browser_process() -> int:
    """The process of the browser that the tests have started."""
    return next(
        process
        for process in descendants(os.getpid())
        if b"--user-data-dir" in (words := Path(f"/proc/{process}/cmdline").read_bytes()) and b"--type=" not in words
    )


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def connected(process: int) -> set[IPv4Address | IPv6Address]:
    """The addresses that a process is connected to, or is trying to be."""
    sockets = set()
    for link in Path(f"/proc/{process}/fd").glob("*"):
        try:
            sockets.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    peers = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        table = Path(f"/proc/{process}/net/{kind}")
        for row in table.read_text().splitlines()[1:] if table.exists() else []:
            words = row.split()
            if f"socket:[{words[9]}]" in sockets:
                peers.add(read_address(words[2].partition(":")[0]))
    return {peer for peer in peers if not peer.is_unspecified}


def read_address(hexadecimal: str) -> IPv4Address | IPv6Address:
    """An address as the kernel writes it: words of four bytes, each from its last byte."""
    raw = bytes.fromhex(hexadecimal)
    found = ip_address(b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4)))
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
