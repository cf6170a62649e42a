"""The explorer's networks: every one has a page whose drawing and counts are those of `convbench cost`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from browsing import DESKTOP, PHONE, assert_fits, browser, explorer, page_of
from convbench.bench.cost import cost
from convbench.claims import check_claims
from convbench.counting import Cost, Row
from convbench.detection.registry import names as detectors
from convbench.models import build, names
from convbench.web.app import create_app
from convbench.web.architecture import Block, Fork, Layer, Repeat, inner_parts, layers_of, read_architecture, rows_of
from convbench.web.architecture_layout import scale_for
from convbench.web.architecture_svg import draw_network
from convbench.web.desk import Desk
from convbench.web.explorer import Settings
from convbench.web.network_page import view_cost

RUNS = Path(__file__).parents[1] / "docs"  # the records of the comparisons that the documents show
EVERY = (*names(), *detectors())
TAGS = re.compile(r"<[^>]+>")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(runs=RUNS)), base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(runs=tmp_path_factory.mktemp("none"))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as opened:
        yield opened


@cache
def counted(name: str) -> Cost:
    return cost(name)


def text_of(client: TestClient, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, answer.text[-600:]
    return answer.text


def checked(client: TestClient, network: str) -> str:
    """A network's page once its claims are checked."""
    for _ in range(600):
        page = text_of(client, f"/networks/{network}")
        if "are being checked" not in page:
            assert 'http-equiv="refresh"' not in page
            return page
        time.sleep(0.1)
    raise AssertionError(f"the claims on {network} are still being checked")


class TestEveryNetwork:
    @pytest.mark.parametrize("name", EVERY)
    def test_page_has_the_counts_of_the_command(self, client: TestClient, name: str) -> None:
        page = text_of(client, f"/networks/{name}")
        own = counted(name)
        assert f"<b>{own.params:,}</b>" in page
        assert f"<b>{own.macs:,}</b>" in page
        assert f"<b>{own.stored_values:,}</b>" in page
        assert 'style="' not in page  # the content policy refuses it
        anchors, links = set(re.findall(r'<tr id="(l\d+)"', page)), set(re.findall(r'href="#(l\d+)"', page))
        assert links
        assert links <= anchors
        assert set(re.findall(r'href="#(repeat-\d+)"', page)) == set(re.findall(r'id="(repeat-\d+)"', page))

    @pytest.mark.parametrize("name", names())
    def test_drawing_has_every_layer_and_stage(self, name: str) -> None:
        own = counted(name)
        parts = read_architecture(own.rows)
        layers = list(layers_of(parts))
        ran = [place for place, row in enumerate(own.rows) if row.output_shape]
        assert sorted(place for part in parts for place in rows_of(part)) == ran
        assert [layer.row for layer in layers] == [row for row in own.rows if row.is_stored]
        drawn = {own.rows[place].name for part in parts for place in rows_of(part)}
        for stage in build_on_meta_stages(name):
            assert any(f"{row}.".startswith(f"{stage}.") for row in drawn), stage

    @pytest.mark.parametrize("name", EVERY)
    def test_lines_of_any_detail_add_up(self, name: str) -> None:
        if name == "resnet1202":
            pytest.skip("4,805 rows, which are the same blocks again")
        own = counted(name)
        for detail in ("modules", "layers", "rows"):
            view = view_cost(own, detail)
            column = view.headings.index("multiply-adds")
            numbers = [int(line.cells[column].replace(",", "") or 0) for line in view.lines]
            assert sum(numbers) == own.macs
        assert len(view.lines) == len(own.rows)


@cache
def build_on_meta_stages(name: str) -> tuple[str, ...]:
    import torch

    with torch.device("meta"):
        stages: tuple[str, ...] = tuple(build(name).stages)  # type: ignore[arg-type]
    return stages


class TestArchitecture:
    def test_an_inception_module_is_four_branches_side_by_side(self) -> None:
        parts = {part.name: part for part in read_architecture(counted("googlenet").rows) if isinstance(part, Fork)}
        assert len(parts) == 9
        module = parts["inception_3a"]
        assert module.join == "cat"
        assert [[layer.row.output_shape[0] for layer in layers_of(branch)] for branch in module.branches] == [
            [64],
            [96, 128],
            [16, 32],
            [192, 32],
        ]

    def test_a_residual_block_has_a_shortcut_and_the_projection_on_it(self) -> None:
        first, second = [part for part in read_architecture(counted("resnet50").rows) if isinstance(part, Fork)][:2]
        assert [first.join, second.join] == ["add", "add"]
        assert [layer.name for layer in layers_of(first.branches[1])] == ["conv2.0.shortcut"]
        assert not list(layers_of(second.branches[1]))  # the identity
        assert len(list(layers_of(second.branches[0]))) == 3

    def test_equal_blocks_are_folded(self) -> None:
        def folded(name: str) -> list[tuple[str, int]]:
            parts = read_architecture(counted(name).rows)
            return [(part.name, len(part.blocks)) for part in parts if isinstance(part, Repeat)]

        assert folded("resnet152") == [("conv3.1 – conv3.7", 7), ("conv4.1 – conv4.35", 35)]
        assert [times for _, times in folded("inception_resnet_v2")] == [10, 20, 10]
        assert folded("mobilenet_v1") == [("separable7 – separable11", 5)]
        assert folded("vgg16") == []

    def test_a_branch_within_a_branch(self) -> None:
        parts = read_architecture(counted("inception_v3").rows)
        module = next(part for part in parts if isinstance(part, Fork) and part.name == "mixed_7c")
        inner = [one for part in inner_parts(module) if isinstance(part, Block) for one in part.parts]
        inner = [part for part in (*inner_parts(module), *inner) if isinstance(part, Fork)]
        assert [len(one.branches) for one in inner] == [2, 2]

    def test_slabs_are_to_scale(self) -> None:
        rows = [Row("wide", "Conv2d", (64, 56, 56), operations={"convolution": 2}, macs=1)]
        rows.append(Row("narrow", "Conv2d", (16, 14, 14), operations={"convolution": 2}, macs=1))
        parts = read_architecture(rows)
        look = LookOfNothing()
        wide, narrow = draw_network(parts, (3, 224, 224), scale_for((3, 224, 224), parts), look).slabs[1:]  # type: ignore[arg-type]
        assert wide.width / narrow.width == pytest.approx(2)  # 64 : 16 channels
        assert wide.height / narrow.height == pytest.approx(2)  # 56 : 14 pixels
        assert isinstance(parts[0], Layer)

    @pytest.mark.parametrize("name", ["lenet5", "inception_v4", "pyramidnet164_a270", "resnet152"])
    def test_nothing_is_drawn_outside(self, name: str) -> None:
        for strip in view_cost(counted(name), None).strips:
            width, height = (float(side) for side in re.findall(r'(?:width|height)="(\d+)"', strip.drawing)[:2])
            boxes = re.findall(r'<rect x="([\d.-]+)" y="([\d.-]+)" width="([\d.]+)" height="([\d.]+)"', strip.drawing)
            assert len(boxes) > 7
            for box in boxes:
                x, y, across, down = map(float, box)
                assert x >= 0
                assert y >= 0
                assert x + across <= width + 1
                assert y + down <= height + 1


class LookOfNothing:
    """Every layer the same."""

    def line(self, layer: Layer) -> int:
        return 1

    def title(self, layer: Layer) -> str:
        return layer.name

    def tint(self, layer: Layer) -> float:
        return 0.5

    def href(self, repeat: Repeat) -> str:
        return ""


class TestNetworkPage:
    def test_conventions(self, client: TestClient) -> None:
        for convention in ("flops", "all", "folded", "training", "training-step"):
            page = text_of(client, f"/networks/resnet20?convention={convention}")
            assert f"<b>{cost('resnet20', convention=convention).total():,}</b>" in page
            assert f'<option value="{convention}" selected>' in page

    def test_detectors_are_counted_forward_alone(self, client: TestClient) -> None:
        page = text_of(client, "/networks/ssd300_mobilenet_v1")
        assert 'value="folded"' in page
        assert 'value="training"' not in page
        assert "<h3>backbone</h3>" in page
        assert "forward pass alone" in text_of(client, "/networks/ssd300_mobilenet_v1?convention=training", 400)

    def test_claims_have_their_verdicts(self, client: TestClient) -> None:
        page = TAGS.sub(" ", checked(client, "vgg16"))
        claims = check_claims(network="vgg16")
        right = sum(one.verdict == "right" for one in claims)
        assert f"{len(claims)} statements" in page
        assert f"{right} hold" in page
        assert "memory of a forward pass" in page
        assert "The deck has no number on it" in text_of(client, "/networks/plain20")

    def test_a_page_comes_again_while_its_claims_are_being_checked(self, tmp_path: Path) -> None:
        with TestClient(create_app(Settings(runs=tmp_path)), base_url="http://127.0.0.1") as opened:
            page = text_of(opened, "/networks/lenet5")  # a process has to begin before anything can be checked
            assert "are being checked" in page and "/static/unfinished.js" in page
            page = checked(opened, "lenet5")
            assert "statements" in page and "/static/unfinished.js" not in page

    def test_counting_waits_for_nobodys_occlusion(self, tmp_path: Path) -> None:
        app, gate = create_app(Settings(runs=tmp_path)), threading.Event()
        with TestClient(app, base_url="http://127.0.0.1") as opened:
            assert opened.portal is not None
            slow: Desk = app.state.explorer.slow
            held = [opened.portal.start_task_soon(slow.do, gate.wait) for _ in range(slow.places)]
            assert f"<b>{counted('lenet5_relu').params:,}</b>" in text_of(opened, "/networks/lenet5_relu")
            gate.set()
            assert all(one.result(10) for one in held)

    def test_measured_engines_come_from_records(self, client: TestClient, without_runs: TestClient) -> None:
        page = text_of(client, "/networks/resnet50")
        assert "imagenet-costs/resnet50" in page
        assert "openvino-bf16" in page
        assert "AMD EPYC" in page
        bare = text_of(without_runs, "/networks/resnet50")
        assert "convbench run imagenet-costs" in bare
        assert "AMD EPYC" not in bare

    def test_a_broken_record_is_left_out(self, tmp_path: Path) -> None:
        folder = tmp_path / "suite" / "resnet50"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{")
        app = create_app(Settings(runs=tmp_path))
        with TestClient(app, base_url="http://127.0.0.1") as opened:
            assert "Nothing was measured" in text_of(opened, "/networks/resnet50")

    @pytest.mark.parametrize(
        ("address", "status", "line"),
        [
            ("/networks/vgg15", 404, "nearest are vgg19, vgg16, vgg13"),
            ("/networks/" + "x" * 61, 422, "at most 60"),
            ("/networks/vgg16?convention=maccs", 400, "nearest is macs"),
            ("/networks/vgg16?detail=everything", 422, "'modules', 'layers' or 'rows'"),
            ("/networks?family=vg", 400, "nearest is vgg"),
            ("/networks?text=" + "x" * 81, 422, "at most 80"),
            ("/networks/..%2F..%2Fetc%2Fpasswd", 404, "nothing is here"),
        ],
    )
    def test_wrong_requests_are_one_line(self, client: TestClient, address: str, status: int, line: str) -> None:
        page = text_of(client, address, status).replace("&#39;", "'")
        (told,) = re.findall(r'<p class="claim">(.*)</p>', page)
        assert line in told


class TestList:
    def test_every_network_is_listed_and_linked(self, client: TestClient) -> None:
        page = text_of(client, "/networks")
        assert re.findall(r'<th scope="row" class="text"><a href="/networks/(\w+)">', page) == list(EVERY)

    def test_filters_work_without_a_script(self, client: TestClient) -> None:
        def listed(address: str) -> list[str]:
            return re.findall(r'<th scope="row" class="text"><a href="/networks/(\w+)">', text_of(client, address))

        assert listed("/networks?family=mobilenet_v1") == [name for name in names() if name.startswith("mobilenet")]
        assert listed("/networks?family=ssd") == [name for name in detectors() if name.startswith("ssd")]
        assert set(listed("/networks?text=He+2015")) >= {"resnet50", "resnet152"}
        assert listed("/networks?text=no+such+thing") == []

    def test_bubbles_are_links_and_latency_needs_runs(self, client: TestClient, without_runs: TestClient) -> None:
        page, bare = text_of(client, "/networks"), text_of(without_runs, "/networks")
        assert 'xlink:href="/networks/resnet50"' in bare
        assert page.count("<figcaption>") == 2
        assert bare.count("<figcaption>") == 1
        assert "AMD EPYC" in page

    def test_the_sorting_script_is_the_reports(self, client: TestClient) -> None:
        assert client.get("/sort.js").headers["content-type"].startswith("text/javascript")
        assert 'src="/sort.js"' in text_of(client, "/networks")


@pytest.mark.browser
class TestInABrowser:
    @pytest.fixture(scope="class")
    def address(self) -> Iterator[str]:
        with explorer(RUNS) as opened:
            yield opened

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [DESKTOP, PHONE])
    def test_sort_filter_open_unfold(self, address: str, size: tuple[int, int], scheme: str) -> None:
        with browser() as opened, page_of(opened, size, scheme) as page:
            page.set_default_timeout(120_000)
            page.goto(f"{address}/networks")
            assert_fits(page)
            first = page.locator(".filtered tbody tr:visible th code").first
            heading = page.get_by_role("button", name="params M").first
            heading.click()
            assert first.inner_text() == "lenet1"
            heading.click()
            assert first.inner_text() == "vgg19_bn"
            heading.click()
            assert first.inner_text() == "lenet1"
            page.get_by_label("Text").fill("resnet152")
            assert page.locator("#shown").inner_text() == "2 shown"
            page.get_by_role("link", name="ResNet-152").first.click()
            page.wait_for_url("**/networks/resnet152**")
            page.locator(".making").wait_for(state="detached")  # until then the page comes again by itself
            assert_fits(page)
            block = page.locator("#repeat-2")
            assert not block.is_visible()
            page.locator('a[href="#repeat-2"]').click()
            block.wait_for(state="visible")
            assert block.locator("a").count() == 35 * 3
            assert_fits(page)

    def test_a_slab_leads_to_its_line_and_the_form_counts_anew(self, address: str) -> None:
        with browser() as opened, page_of(opened) as page:
            page.set_default_timeout(120_000)
            page.goto(f"{address}/networks/vgg16")
            page.locator(".architecture a", has=page.locator("title", has_text="conv3_2,")).click()
            assert page.locator("tr:target th").inner_text().startswith("conv3_2")
            page.get_by_label("Count").select_option("flops")
            page.get_by_role("button", name="Show").click()
            page.wait_for_url("**convention=flops**")
            assert f"{cost('vgg16', convention='flops').total():,}" in page.locator(".totals").inner_text()
