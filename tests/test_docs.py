"""The docs and the code name the same things."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from api.cli import app
from gis.settings import Settings
from layers.accounts import ROLES
from tests.doorstep import Door, every_command

HOME = Path(__file__).resolve().parents[1]
PAGES = [HOME / "README.md", HOME / "README.zh.md", *sorted((HOME / "docs").glob("*.md"))]
COMMANDS = every_command(typer.main.get_command(app))


@pytest.mark.parametrize("command", sorted(name for name, of in COMMANDS.items() if not hasattr(of, "commands")))
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"`wanmi {command}" in (HOME / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_role_is_in_the_reference(role: str) -> None:
    assert f"`{role}`" in (HOME / "docs" / "accounts.md").read_text(encoding="utf-8")


def test_every_address_is_in_the_reference_and_no_other(door: Door) -> None:
    paths = door.get("/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    text = (HOME / "docs" / "http.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([A-Z]+ /[^`]*)`", text, re.MULTILINE))
    assert named - {"GET /"} == there


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_reference(name: str) -> None:
    assert f"`WANMI_{name.upper()}`" in (HOME / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_the_docs_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:\./|`)wanmi (?:--\w+ \S+ )?([a-z]+(?:-[a-z]+)*)", text))
    assert named <= set(COMMANDS), named - set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_both_readmes_show_the_same_commands() -> None:
    blocks = [
        re.findall(r"^\./wanmi [^#\n]*", (HOME / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("README.md", "README.zh.md")
    ]
    assert [line.split() for line in blocks[0]] == [line.split() for line in blocks[1]]


def test_no_package_host_and_no_machine_path_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, text=True, check=True).stdout
    names = [
        HOME / name for name in tracked.split("\0") if name.endswith((".py", ".sql", ".toml", ".lock", ".md", "wanmi"))
    ]
    hosts = re.compile(
        "|".join(
            [
                "pypi" + r"\.org",
                "pythonhosted" + r"\.",
                "deb" + r"\.debian",
                "npmjs" + r"\.",
                "/ro" + "ot/",
                "/wo" + "rk/",
            ]
        )
    )
    found = [name for name in names if name.exists() and hosts.search(name.read_text(encoding="utf-8"))]
    assert not found
