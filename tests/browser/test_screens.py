"""The pictures in ``docs/screens`` are those that ``make screens`` makes: all of them, small, of the right size."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import screens
from tests.browser.own_site import OwnSite
from tests.harness import ROOT

FOLDER = ROOT / "docs/screens"


def _size(path: Path) -> tuple[int, int]:
    """Width and height in the header of a PNG file (PNG specification, 11.2.2 IHDR)."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_the_folder_holds_exactly_the_pictures_that_make_screens_makes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {screen.file for screen in screens.SCREENS}


@pytest.mark.parametrize("screen", screens.SCREENS, ids=lambda screen: screen.file)
def test_each_picture_is_small_and_of_the_size_in_its_name(screen: screens.Screen) -> None:
    path = FOLDER / screen.file
    assert path.stat().st_size < screens.MAX_BYTES
    assert _size(path) == (screen.width, screen.height)


def test_make_screens_still_makes_them(browser: Browser, own: OwnSite, tmp_path: Path) -> None:
    some = [screen for screen in screens.SCREENS if screen.language == "en" and screen.scheme == "light"][::6]
    made = list(screens.take(browser, screens.Sites(own, own), tmp_path, some))
    assert [path.name for path in made] == [screen.file for screen in some]
    assert all(path.stat().st_size < screens.MAX_BYTES for path in made)
    assert [_size(path) for path in made] == [(screen.width, screen.height) for screen in some]
