"""Where each number comes from: addresses of papers and releases, runs on the page, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convbench.bench.suite import open_suite, read_errors
from convbench.claims.addresses import address_of
from convbench.claims.challenge import read_challenge
from convbench.errors import ConvbenchError
from convbench.report.html import write_report
from convbench.report.records import read_suites
from test_report import Tags, record, save

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("He, Zhang, Ren & Sun, CVPR 2016, tables 2 and 3", "https://arxiv.org/abs/1512.03385"),
        ("He et al. 2016, table 5", "https://arxiv.org/abs/1512.03385"),
        ("Szegedy et al. 2015, table 2", "https://arxiv.org/abs/1409.4842"),
        ("Szegedy, Ioffe, Vanhoucke & Alemi, AAAI 2017, table 2", "https://arxiv.org/abs/1602.07261"),
        ("Howard et al., arXiv 2017, table 13", "https://arxiv.org/abs/1704.04861"),
        ("KaimingHe/deep-residual-networks", "https://github.com/KaimingHe/deep-residual-networks"),
        ("BVLC Caffe, bvlc_alexnet", "https://github.com/BVLC/caffe"),
        ("Krizhevsky et al. 2012, table 2", None),  # at NIPS; the ledger knows no identifier
        ("Krizhevsky et al. 2014, table 2", "https://arxiv.org/abs/1404.5997"),
        ("He et al. 2015", None),  # another paper
        ("challenge table", None),
    ],
)
def test_addresses(source: str, address: str | None) -> None:
    assert address_of(source) == address


def test_every_network_of_the_comparison_leads_to_its_source() -> None:
    _, suite = open_suite("imagenet-costs")
    assert not [spec.network for spec in suite.networks if read_errors(spec)["url"] is None]


def test_the_challenges_winners_are_its_years() -> None:
    entries = read_challenge()
    winners = {one.year: (one.name, one.top5_error) for one in entries if one.won}
    assert winners == {  # Russakovsky et al. 2015 and the challenge's pages
        **{2010: ("NEC-UIUC", 28.2), 2011: ("XRCE", 25.8), 2012: ("SuperVision", 15.3), 2013: ("Clarifai", 11.7)},
        **{2014: ("GoogLeNet", 6.67), 2015: ("MSRA", 3.57), 2016: ("Trimps-Soushen", 2.99), 2017: ("WMW", 2.25)},
    }
    assert {one.year for one in entries if one.kind == "hand-made features"} == {2010, 2011, 2012}
    assert [one.top5_error for one in entries if one.kind == "person"] == [5.1]


def test_docs_records_have_the_ledgers_addresses() -> None:
    (suite,) = read_suites(DOCS, ["imagenet-costs"])
    _, asked = open_suite("imagenet-costs")
    published = {one.name: one.published for one in suite.profiled}
    for spec in asked.networks:
        kept = published[spec.name]
        assert kept is not None
        assert (kept.source, kept.url) == (read_errors(spec)["source"], read_errors(spec)["url"])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    made = record("linked", 20, 1.9)
    made["published"]["url"] = "https://arxiv.org/abs/1512.03385?a=1&b=2"
    save(folder, made)
    save(folder, record("unlinked", 30, 2.5))
    save(folder, record("begun", 40, recipe={"initial_weights": "elsewhere/imported.safetensors"}))
    (folder / "costs").mkdir()
    for name in ("suite.json",):
        (folder / "costs" / name).write_bytes((DOCS / "imagenet-costs" / name).read_bytes())
    (folder / "costs" / "alexnet").mkdir()
    text = (DOCS / "imagenet-costs" / "alexnet" / "record.json").read_text()
    (folder / "costs" / "alexnet" / "record.json").write_text(text)
    return write_report(folder, folder / "page.html").read_text()


def test_published_figures_lead_to_their_source(page: str) -> None:
    links = [attributes.get("href") or "" for tag, attributes in Tags(page).tags if tag == "a"]
    outside = {link for link in links if not link.startswith("#")}
    assert "https://arxiv.org/abs/1512.03385?a=1&b=2" in outside
    assert "https://github.com/BVLC/caffe" in outside
    assert '<span title="A paper, test set">2.5' in page, "without an address, its text"


def test_names_lead_to_runs_and_every_run_is_there(page: str) -> None:
    tags = Tags(page).tags
    targets = {attributes["id"] for _, attributes in tags if "id" in attributes}
    inside = [attributes["href"] or "" for tag, attributes in tags if tag == "a" and attributes.get("class") == "run"]
    assert len(inside) >= 5
    assert {link.removeprefix("#") for link in inside} <= targets
    assert re.search(r'<h3 id="run-2-\d+">Linked</h3>', page)
    assert "trained here from imported.safetensors" in page
    assert "<dt>weights</dt><dd>initial</dd>" in page


def test_the_challenge_is_shown_where_a_suite_asks_for_it(page: str) -> None:
    assert page.count("The ImageNet challenge, year by year") == 1
    assert "Trimps-Soushen" in page


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://example.org", "//example.org", "data:text/html,x"])
def test_an_address_that_is_no_https_is_refused(tmp_path: Path, url: str) -> None:
    made = record("bad", 20, 1.9)
    made["published"]["url"] = url
    folder = save(tmp_path / "runs", made)
    with pytest.raises(ConvbenchError, match=r"record\.json: .*`url` that begins with https://"):
        write_report(tmp_path / "runs", tmp_path / "page.html")
    (folder / "record.json").write_text(json.dumps(record("bad", 20, 1.9)))
    write_report(tmp_path / "runs", tmp_path / "page.html")  # records from before there were addresses
