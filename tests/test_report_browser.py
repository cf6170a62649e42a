"""The report in a real browser: tables that sort by key and pointer, nothing wider than a phone, paper, no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browsing import DESKTOP, PHONE, assert_fits, browser, page_of
from convbench.report.html import write_report
from test_report import record, save

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on four methods, whose numbers of parameters are 1,009, 1,020, 1,100 and unknown."""
    folder = tmp_path_factory.mktemp("sorted")
    for name, errors, published in (("nine", 9, 12.0), ("twenty", 20, 3.5), ("hundred", 100, None)):
        save(folder, record(name, errors, published), metrics=False)
    save(folder, record("unknown", 50, 3.25, cost=None, seconds={"train": 7200.0, "evaluate": 1.0}), metrics=False)
    return write_report(folder, folder / "report" / "index.html").as_uri()


TABLE = "role=region[name='Result table']"


def column(page: Page, heading: str) -> list[str]:
    """The cells of the column under the last heading of that text, from top to bottom."""
    script = """(region, heading) => {
        const table = region.querySelector("table"), headings = [...table.tHead.rows].at(-1).cells;
        const place = [...headings].findLastIndex((one) => one.textContent.trim() === heading);
        return [...table.tBodies[0].rows].map((row) => row.cells[place].textContent.trim().replace("\\u2007", ""));
    }"""
    return list(page.locator(TABLE).evaluate(script, heading))


def test_a_heading_sorts_up_down_and_back(opened: Browser, address: str) -> None:
    with page_of(opened) as page:
        page.goto(address)
        region = page.locator(TABLE)
        assert column(page, "Method") == ["Nine", "Twenty", "Unknown", "Hundred"]
        heading = region.get_by_role("columnheader", name="parameters")
        assert heading.get_attribute("aria-sort") == "none"
        button = heading.get_by_role("button")
        button.click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column(page, "parameters") == ["1,009", "1,020", "1,100", "–"]
        button.click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert column(page, "parameters") == ["1,100", "1,020", "1,009", "–"], "the unknown stands last either way"
        button.click()
        assert heading.get_attribute("aria-sort") == "none"
        assert column(page, "Method") == ["Nine", "Twenty", "Unknown", "Hundred"], "as it was"


def test_numbers_durations_and_intervals_sort_by_size(opened: Browser, address: str) -> None:
    with page_of(opened) as page:
        page.goto(address)
        region = page.locator(TABLE)
        published = region.get_by_role("columnheader", name="error %").first
        published.get_by_role("button").click()
        script = "(region) => [...region.querySelectorAll('tbody tr')].map((row) => row.cells[1].textContent.trim())"
        figures = [text.replace("\u2007", "") for text in region.evaluate(script)]
        assert figures == ["3.25", "3.5", "12.0", "–"], "neither as letters nor as whole numbers between points"
        region.get_by_role("columnheader", name="95 % interval").get_by_role("button").click()
        assert column(page, "95 % interval")[0] == "0.40–1.40"
        assert published.get_attribute("aria-sort") == "none", "one column at a time"
        train = region.get_by_role("columnheader", name="training").get_by_role("button")
        train.click()
        train.click()
        assert column(page, "training")[0] == "2 h 00 min", "longer than 61 s"


def test_the_keyboard_sorts(opened: Browser, address: str) -> None:
    with page_of(opened) as page:
        page.goto(address)
        region = page.locator(TABLE)
        region.focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Method"
        page.keyboard.press("Enter")
        assert column(page, "Method") == ["Hundred", "Nine", "Twenty", "Unknown"]
        page.keyboard.press("Space")
        assert column(page, "Method") == ["Unknown", "Twenty", "Nine", "Hundred"]


def test_without_script_the_page_is_whole(opened: Browser, address: str) -> None:
    context = opened.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(address)
        assert page.locator(f"{TABLE} >> thead >> button").count() == 0
        assert page.locator(f"{TABLE} >> tbody >> tr").count() == 4
    finally:
        context.close()


def test_a_runs_name_leads_to_its_particulars(opened: Browser, address: str) -> None:
    with page_of(opened) as page:
        page.goto(address)
        particulars = page.locator("details.particulars")
        assert not particulars.evaluate("(one) => one.open")
        page.locator(TABLE).get_by_role("link", name="Twenty").click()
        heading = page.locator(page.url[page.url.index("#") :])
        assert heading.inner_text() == "Twenty"
        assert particulars.evaluate("(one) => one.open"), "what is looked for is shown"


def test_paper_has_no_arrows_and_black_ink(opened: Browser, address: str) -> None:
    with page_of(opened, scheme="dark") as page:
        page.goto(address)
        page.locator(TABLE).get_by_role("columnheader", name="parameters").get_by_role("button").click()
        arrow = "getComputedStyle(document.querySelector('[aria-sort=ascending] button'), '::after').content"
        assert page.evaluate(arrow) == '"▲"'
        page.emulate_media(media="print")
        assert page.evaluate(arrow) == "none"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_paper_has_the_particulars(opened: Browser, address: str) -> None:
    """Machine, commit and command, to which the page sends its reader: folded on a screen, open on paper."""
    with page_of(opened) as page:
        page.goto(address)
        folded = "document.querySelector('.particulars').getBoundingClientRect().height"
        on_screen = page.evaluate(folded)
        page.emulate_media(media="print")
        assert page.evaluate(folded) > on_screen + 100


def light(colour: str) -> float:
    """The relative luminance of #rrggbb, by WCAG 2."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_text_has_contrast() -> None:
    """WCAG's 4.5 to 1 for all colours that text has, on paper, under the pointer, and in print."""
    css = (resources.files("convbench.report") / "templates/report.css").read_text()
    schemes = [dict(re.findall(r"(--\w+): (#[0-9a-f]+)", found)) for found in re.findall(r":root \{([^}]*)\}", css)]
    assert len(schemes) == 3
    for colours in schemes:
        for name in ("--ink", "--muted", "--network", "--rival", "--published", "--good", "--bad"):
            for ground in ("--paper", "--tint"):
                one, other = sorted((light(colours[name]), light(colours[ground])))
                assert (other + 0.05) / (one + 0.05) >= 4.5, f"{name} {colours[name]} on {colours[ground]}"


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["lecun1998", "imagenet-costs", "detection-matrix"])
def test_reports_fit_every_screen(opened: Browser, suite: str, tmp_path: Path) -> None:
    address = write_report(DOCS, tmp_path / "index.html", [suite]).as_uri()
    for size in (DESKTOP, PHONE):
        with page_of(opened, size) as page:
            page.goto(address)
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert_fits(page)
