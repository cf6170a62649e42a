"""The explorer's page of claims: the audit, its filters, the papers' counts, the trials."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from browsing import DESKTOP, PHONE, assert_fits, browser, explorer, page_of
from convbench.claims import check_claims, check_figures, read_trials
from convbench.models import names
from convbench.web.app import create_app
from convbench.web.explorer import Settings

SMALL = ("alexnet", "lenet5", "vgg16")  # networks whose claims are quick to check again


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An explorer that has checked everything."""
    with explorer(tmp_path_factory.mktemp("runs")) as url:
        first = httpx.get(url + "/claims", timeout=60).text
        assert "slides are checked" in first  # it does not wait
        for _ in range(3000):
            if 'class="making"' not in httpx.get(url + "/claims", timeout=60).text:
                break
            time.sleep(0.2)
        yield url


def text_of(url: str) -> str:
    answer = httpx.get(url, timeout=60)
    assert answer.status_code == 200
    return html.unescape(answer.text)


def rows(page: str) -> list[str]:
    """The claims of a page: what each says."""
    deck = page.partition('id="papers"')[0]
    return [" ".join(one.split()) for one in re.findall(r'<th scope="row" class="text">(.*?)<small>', deck, re.DOTALL)]


class TestTheDeck:
    def test_everything_is_there(self, address: str) -> None:
        page = text_of(address + "/claims")
        assert f"{len(rows(page))} claims" in page
        assert len(rows(page)) > 500

    @pytest.mark.parametrize("network", SMALL)
    def test_one_network(self, address: str, network: str) -> None:
        page, expected = text_of(f"{address}/claims?network={network}"), check_claims(network=network)
        assert sorted(rows(page)) == sorted(" ".join(one.says.split()) for one in expected)
        for one in expected:
            assert one.reason in page
            assert one.deck in page
        assert f'href="/networks/{network}"' in page

    @pytest.mark.parametrize("verdict", ["wrong", "ambiguous"])
    def test_filters_meet(self, address: str, verdict: str) -> None:
        page = text_of(f"{address}/claims?slide=&verdict={verdict}&network=lenet5")
        expected = check_claims(network="lenet5", verdict=verdict)
        assert sorted(rows(page)) == sorted(" ".join(one.says.split()) for one in expected)
        assert f'<option value="{verdict}" selected>' in page

    def test_one_slide_and_no_other_with_a_longer_title(self, address: str) -> None:
        page = text_of(f"{address}/claims?slide=MobileNet")
        assert re.findall(r"<summary><b>(Mobile.*?)</b>", page) == ["MobileNet"]

    def test_nothing_to_show(self, address: str) -> None:
        assert "No claim is of this" in text_of(f"{address}/claims?slide=Outlines&network=lenet5")

    def test_networks_with_a_page_are_linked(self, address: str) -> None:
        linked = set(re.findall(r'href="/networks/([^"]+)"', text_of(address + "/claims")))
        assert len(linked) > 20
        assert linked <= set(names())

    @pytest.mark.parametrize(
        ("query", "line"),
        [("verdict=rong", "nearest is wrong"), ("network=lenet6", "lenet5"), ("slide=Mobile", "unknown slide")],
    )
    def test_unknown_ones_are_told_with_the_nearest(self, tmp_path: Path, query: str, line: str) -> None:
        answer = TestClient(create_app(Settings(runs=tmp_path)), base_url="http://127.0.0.1").get(f"/claims?{query}")
        assert answer.status_code == 400
        assert line in html.unescape(answer.text)


class TestBesideTheDeck:
    def test_the_papers_counts(self, address: str) -> None:
        page, figures = text_of(address + "/claims"), check_figures("vgg16")
        assert figures
        papers = page.partition('id="papers"')[2].partition('id="trials"')[0]
        for one in figures:
            assert one.published in papers
            assert one.counted in papers

    def test_the_trials(self, address: str) -> None:
        trials = text_of(address + "/claims").partition('id="trials"')[2]
        decisions = [one for trial in read_trials() for one in trial.decisions]
        assert trials.count('data-of="verdict"') == len(decisions)
        for one in decisions:
            assert one.says in trials
            assert f"{one.low:+.2f} to {one.high:+.2f}" in trials
        assert trials.count("<svg") == 4 * len(read_trials())
        assert " style=" not in trials


@pytest.mark.browser
def test_it_fits_and_is_filtered_with_the_keyboard(address: str) -> None:
    with browser() as opened:
        for size in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                with page_of(opened, size, scheme) as page:
                    page.goto(address + "/claims")
                    assert_fits(page)
                    page.locator(".slide > summary").first.focus()
                    page.keyboard.press("Enter")
                    assert page.locator(".slide[open]").count() == 1
                    page.get_by_label("Verdict").select_option("wrong")
                    page.get_by_role("button", name="Show").press("Enter")
                    page.wait_for_url("**/claims?*")
                    assert page.locator(".slide[open] td.verdict.wrong:visible").count() > 10
                    assert page.locator(".slide td.verdict.right:visible").count() == 0
                    assert_fits(page)
