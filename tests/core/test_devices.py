"""A browser in words: what people recognise in the list of their sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.devices import LONGEST, describe_device
from tests.core.tables import table

KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
LINUX = "Mozilla/5.0 (X11; Linux x86_64)"
ANDROID = "Mozilla/5.0 (Linux; Android 14; Pixel 8)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

AGENTS = {
    "Firefox": ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
    "Firefox on Windows": (
        "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Firefox on Windows",
    ),
    "Firefox on Android": (
        "Mozilla/5.0 (Android 14; Mobile; rv:128.0) Gecko/128.0 Firefox/128.0",
        "Firefox on Android",
    ),
    "Firefox on an iPhone": (f"{IPHONE} {APPLE} FxiOS/128.0 Mobile/15E148 Safari/605.1.15", "Firefox on iPhone"),
    "Chrome": (f"{WINDOWS} {KIT} Chrome/126.0.0.0 Safari/537.36", "Chrome on Windows"),
    "Chrome on Linux": (f"{LINUX} {KIT} Chrome/126.0.0.0 Safari/537.36", "Chrome on Linux"),
    "Chrome on Android": (f"{ANDROID} {KIT} Chrome/126.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
    "Chrome on a Mac": (f"{MAC} {KIT} Chrome/126.0.0.0 Safari/537.36", "Chrome on macOS"),
    "Chrome on an iPhone": (f"{IPHONE} {APPLE} CriOS/126.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
    "Chrome on a Chromebook": (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541) {KIT} Chrome/126.0 Safari/537.36",
        "Chrome on ChromeOS",
    ),
    "Chrome without a window": (f"{LINUX} {KIT} HeadlessChrome/126.0.0.0 Safari/537.36", "Headless Chrome on Linux"),
    "Edge": (f"{WINDOWS} {KIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
    "Opera": (f"{WINDOWS} {KIT} Chrome/126.0.0.0 Safari/537.36 OPR/112.0", "Opera on Windows"),
    "Samsung": (
        f"{ANDROID} {KIT} SamsungBrowser/25.0 Chrome/121.0 Mobile Safari/537.36",
        "Samsung Internet on Android",
    ),
    "Safari on an iPhone": (f"{IPHONE} {APPLE} Version/17.4 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
    "Safari on an iPad": (
        f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {APPLE} Version/16.6 Mobile/15E148 Safari/604.1",
        "Safari on iPad",
    ),
    "Safari on a Mac": (f"{MAC} {APPLE} Version/17.4 Safari/605.1.15", "Safari on macOS"),
    "WeChat": (f"{IPHONE} {APPLE} Mobile/15E148 MicroMessenger/8.0.49(0x18003130) NetType/WIFI", "WeChat on iPhone"),
    "QQ Browser": (f"{WINDOWS} {KIT} Chrome/94.0 Safari/537.36 QQBrowser/11.9", "QQ Browser on Windows"),
    "Huawei": (
        f"Mozilla/5.0 (Phone; OpenHarmony 5.0) {KIT} Chrome/114.0 Safari/537.36 HuaweiBrowser/5.0",
        "Huawei Browser on HarmonyOS",
    ),
    "Internet Explorer": (
        "Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0) like Gecko",
        "Internet Explorer on Windows",
    ),
    "a browser on an unknown system": ("Mozilla/5.0 (SomethingNew 1.0) Gecko/20100101 Firefox/150.0", "Firefox"),
    "an unknown browser": ("Mozilla/5.0 (X11; Linux x86_64) NetSurf/3.11", "Mozilla"),
    "curl": ("curl/8.5.0", "curl"),
    "a program that names its system": ("Python/3.11 aiohttp/3.14 (Linux)", "Python"),
    "a program that names a browser": ("okhttp/4.12.0 (like Chrome/126)", "okhttp"),
    "a program without a version": ("my-app", "my-app"),
    "a program with a comment only": ("my-app(1.0)", "my-app"),
    "none": ("", ""),
    "blanks": ("   ", ""),
    "a comment": ("(nothing else)", ""),
    "a long word": ("x" * 1000, "x" * LONGEST),
    "control characters": ("a\x00b\x1b[31mc/1.0", "ab[31mc"),
    "right-to-left override": ("safe\u202egpj.exe", "safegpj.exe"),
    "a lone surrogate": ("caf\udce9/1.0", "caf"),
    "beyond ASCII": ("浏览器/1.0", "浏览器"),
}


@pytest.mark.parametrize(("agent", "shown"), table(AGENTS))
def test_a_browser_in_words(agent: str, shown: str) -> None:
    assert describe_device(agent) == shown


@given(st.text(max_size=2000))
def test_whatever_is_sent_becomes_a_short_printable_text(agent: str) -> None:
    shown = describe_device(agent)
    assert len(shown) <= LONGEST
    assert shown.isprintable()
