"""Settings: read once from WANMI_*, refused by name, frozen, documented."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from gis.errors import UnfitSetting
from gis.settings import Settings, read_settings

DOCS = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(name for name in os.environ if name.startswith("WANMI_")), "LC_ALL", "LC_MESSAGES", "LANG"]:
        monkeypatch.delenv(name, raising=False)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"DATA": "/somewhere", "CACHE": "/elsewhere", "CITY": "washington", "LANGUAGE": "zh"}
    for name, value in values.items():
        monkeypatch.setenv(f"WANMI_{name}", value)
    settings = read_settings()
    assert (settings.data, settings.cache) == (Path("/somewhere"), Path("/elsewhere"))
    assert (settings.city, settings.language) == ("washington", "zh")


def test_what_is_given_comes_before_the_environment_and_nothing_given_before_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANMI_CITY", "washington")
    assert read_settings(city="ankang").city == "ankang"
    assert read_settings(city=None).city == "washington"
    monkeypatch.setenv("WANMI_CITY", "")
    assert read_settings().city == "ankang", "an empty variable is none"


@pytest.mark.parametrize(
    ("locale", "language"), [("zh_CN.UTF-8", "zh"), ("en_GB.UTF-8", "en"), ("C", "en"), ("", "en")]
)
def test_the_language_is_that_of_the_shell(monkeypatch: pytest.MonkeyPatch, locale: str, language: str) -> None:
    monkeypatch.setenv("LANG", locale)
    assert read_settings().language == language


@pytest.mark.parametrize(
    ("name", "value"),
    [("WANMI_LANGUAGE", "fr"), ("WANMI_CITY", "../etc"), ("WANMI_CITY", "An Kang"), ("WANMI_CITY", 'x"; drop')],
)
def test_a_bad_value_is_refused_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UnfitSetting) as caught:
        read_settings()
    assert caught.value.en.startswith(name)
    assert name in caught.value.zh
    assert name in (caught.value.mend or "")
    assert caught.value.where == {"setting": name}


def test_settings_are_frozen() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.city = "washington"  # type: ignore[misc]


def test_the_password_in_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANMI_DATABASE_URL", "postgresql://me:sesame@host/db")
    assert "sesame" not in repr(read_settings())
    assert "sesame" not in str(read_settings())


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_and_documented(name: str) -> None:
    assert Settings.model_fields[name].description
    assert f"WANMI_{name.upper()}" in DOCS.read_text(encoding="utf-8")
