"""The pages in a real Chromium: searched, sorted, filtered, opened, copied, read aloud."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinybuild.page.site import Entry, Site, make

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium here", allow_module_level=True)
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


@pytest.fixture
def page(tmp_path: Path, entry: Callable[..., Entry]) -> Iterator[Any]:
    """The index of a zoo of four, opened from its file; no message may stand in the console."""
    entries = [
        entry("alpha", group="first"),
        entry("beta", state="stale"),
        entry("gamma-long", model="mixtral"),
        Entry(name="bad", group="", state="broken", summary="", findings=("line 1: no",)),
    ]
    site = Site(folder=tmp_path / "dist", zoo="my zoo", foreign=lambda folder: [])
    make(site, entries, lambda line: None)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        made, said = context.new_page(), list[str]()
        made.on("console", lambda message: said.append(message.text))
        made.on("pageerror", lambda error: said.append(str(error)))
        made.on("request", lambda request: _local(request.url))
        made.goto((tmp_path / "dist/index.html").as_uri())
        yield made
        browser.close()
    assert said == []


def _local(url: str) -> None:
    assert url.startswith(("file:", "data:")), url


def names(page: Any) -> list[str]:
    return list(page.locator("tbody tr:not([hidden]) td:first-child").all_inner_texts())


def test_search_filter_and_sort(page: Any) -> None:
    assert names(page) == ["alpha", "beta", "gamma-long", "bad"]
    page.get_by_label("Search").fill("BETA tests")
    assert names(page) == ["beta"]
    assert page.locator("#count").inner_text() == "1 of 4"
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("state").select_option("broken")
    assert names(page) == ["bad"]
    page.get_by_role("button", name="Clear").click()
    heads = page.get_by_role("button", name="name")
    heads.click()
    assert names(page) == ["alpha", "bad", "beta", "gamma-long"]
    heads.focus()
    page.keyboard.press("Enter")
    assert names(page) == ["gamma-long", "beta", "bad", "alpha"]
    assert page.locator("th").first.get_attribute("aria-sort") == "descending"


def test_a_bundle_is_opened_and_its_snippet_copied(page: Any) -> None:
    page.get_by_role("link", name="alpha").click()
    assert page.title() == "alpha: my zoo"
    page.locator(".copy button").first.click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").strip() == (
        'model = Model.from_pretrained("dist/one")'
    )
    rings = page.locator(".cut span.other").all_inner_texts()
    assert rings == []  # both cut at the same places
    shown = page.locator(".weights img").first
    shown.scroll_into_view_if_needed()
    assert shown.evaluate("async image => (await image.decode(), image.naturalWidth)") > 0
    page.get_by_role("link", name="my zoo").click()
    assert page.title() == "my zoo: tiny models"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_for_axe_to_find(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    for name in ("index", "alpha"):
        page.goto(f"{page.url.rpartition('/')[0]}/{name}.html")
        result = axe.run(page)
        assert result.violations_count == 0, result.generate_report()


def test_a_thousand_bundles_stay_quick(tmp_path: Path, entry: Callable[..., Entry]) -> None:
    """What happens at a key is one pass over the rows; the limit is far above what was seen."""
    one = entry("one")
    many = [
        Entry(name=f"m{n}", group="", state="up to date", summary=f"number {n}", row=one.row)
        for n in range(1000)
    ]
    index = tmp_path / "dist"
    for number in range(1000):
        (index / f"m{number}").mkdir()
        for name in ("SHA256SUMS", "report.json"):
            shutil.copy(index / "one" / name, index / f"m{number}" / name)
    make(Site(folder=index, zoo="large", foreign=lambda folder: []), many, lambda line: None)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.goto((index / "index.html").as_uri())
        page.get_by_label("Search").fill("number 999")
        assert names(page) == ["m999"]
        browser.close()
