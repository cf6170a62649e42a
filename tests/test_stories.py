"""`convbench models`: the list against the registry, the ledger and torchvision; the stories as a reader sees them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import resources

import pytest
import torchvision
from rich.console import Console

from convbench.bench.suite import open_suite
from convbench.claims.ledger import read_claims
from convbench.detection import registry as detectors
from convbench.detection.parts import detector_cost, open_on_meta
from convbench.errors import RequestError
from convbench.models.registry import FAMILIES, names, published_input
from convbench.report.retelling import ERRORS, retell
from convbench.report.stories import (
    describe_detectors,
    describe_network,
    describe_networks,
    print_networks,
    print_story,
)

ENTRIES = {entry["name"]: entry for entry in describe_networks()}
LEDGER = {
    file.name.removesuffix(".toml"): tomllib.loads(file.read_text())
    for file in resources.files("convbench").joinpath("published").iterdir()
    if file.name.endswith(".toml")
}
TORCHVISION = {  # our name: theirs
    **{name: name for name in ENTRIES if re.fullmatch(r"vgg\d\d(_bn)?", name)},
    **{name: name.removesuffix("_v1_5") for name in ENTRIES if name.endswith("_v1_5")},
    **{name: name for name in ("resnext50_32x4d", "resnext101_64x4d")},
    **{"alexnet_owt": "alexnet", "googlenet_bn": "googlenet"},
}


def printed(show: Callable[[Console], None], width: int = 100) -> list[str]:
    """The lines that `show` prints on a terminal of `width` characters, without the spaces at their ends."""
    file = io.StringIO()
    show(Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def story(name: str, width: int = 100) -> str:
    return "\n".join(printed(lambda console: print_story(name, console), width))


class TestEntries:
    def test_there_is_one_for_each_registered_network(self) -> None:
        assert tuple(ENTRIES) == names()
        assert {name: entry["family"] for name, entry in ENTRIES.items()} == {
            name: family for family, members in FAMILIES.items() for name in members
        }

    @pytest.mark.parametrize("name", names())
    def test_input_is_what_the_network_takes(self, name: str) -> None:
        assert tuple(ENTRIES[name]["input"]) == published_input(name)

    @pytest.mark.parametrize("name", TORCHVISION)
    def test_counts_are_torchvisions(self, name: str) -> None:
        theirs = torchvision.models.get_model_weights(TORCHVISION[name]).DEFAULT.meta
        assert ENTRIES[name]["params"] == theirs["num_params"]
        assert round(ENTRIES[name]["macs"] / 1e9, 3) == theirs["_ops"]

    def test_batch_normalisation_adds_two_parameters_a_map(self) -> None:
        # column C: 64 64, 128 128, 256 256 256, then twice 512 512 512
        assert ENTRIES["vgg16_1x1_bn"]["params"] - ENTRIES["vgg16_1x1"]["params"] == 2 * (128 + 256 + 768 + 2 * 1536)

    def test_networks_that_cost_the_same(self) -> None:
        """Option A's shortcuts, response normalisation and a stride moved within a block have no parameters."""
        for residual, plain in (("resnet18", "plain18"), ("resnet34", "plain34"), ("resnet56", "plain56")):
            assert [ENTRIES[residual][key] for key in ("params", "macs")] == [
                ENTRIES[plain][key] for key in ("params", "macs")
            ]
        assert ENTRIES["vgg11"]["params"] == ENTRIES["vgg11_lrn"]["params"]
        assert ENTRIES["resnet50"]["params"] == ENTRIES["resnet50_v1_5"]["params"]

    def test_what_an_ablation_removes(self) -> None:
        """AlexNet's own layers: fc7 is 4096x4096 and its biases; conv3 has 256 -> 384 maps, conv4 384 in two groups."""
        whole, fc7 = ENTRIES["alexnet"], 4096 * 4096
        assert whole["params"] - ENTRIES["alexnet_no_fc7"]["params"] == fc7 + 4096
        assert whole["macs"] - ENTRIES["alexnet_no_fc7"]["macs"] == fc7
        convolutions = 9 * (256 * 384 + 384 * 192)
        conv5 = 9 * (192 - 128) * 256  # reads the 256 maps of pool2 instead, in two groups
        cut = ENTRIES["alexnet_no_conv3_conv4"]
        assert whole["params"] - cut["params"] == convolutions + 2 * 384 + conv5
        assert whole["macs"] - cut["macs"] == 13**2 * (convolutions + conv5)

    @pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if set(ERRORS) & entry.keys()])
    def test_listed_errors_stand_in_the_ledger(self, name: str) -> None:
        entry = ENTRIES[name]
        if entry["data"] == "MNIST test":
            claim = LEDGER["lecun1998"]["claims"][name.replace("_", "-")]
            assert (entry["error"], entry["source"].split(", ")[-1]) == (claim["error"], claim["source"])
            return
        figures = [figure for ledger in LEDGER.values() for figure in ledger.get("figures", ())]
        for metric in set(ERRORS) & entry.keys():
            said = {"network": name, "metric": metric, "value": entry[metric], "data": entry["data"]}
            said["confidence"] = entry.get("confidence", "verified")
            found = [figure for figure in figures if said.items() <= figure.items()]
            assert any(figure["source"].startswith(entry["source"]) for figure in found), metric

    def test_a_network_without_an_error_says_why(self) -> None:
        silent = [name for name, entry in ENTRIES.items() if not set(ERRORS) & entry.keys()]
        assert all("departure" in ENTRIES[name] or re.search("figures? .*6", ENTRIES[name]["idea"]) for name in silent)


class TestList:
    @pytest.mark.parametrize("width", [100, 120])
    def test_every_network_has_a_line(self, width: int) -> None:
        lines = printed(print_networks_on, width)
        assert max(map(len, lines)) <= width
        assert [line.split()[0] for line in lines if line.split() and line.split()[0] in ENTRIES] == list(names())
        firsts = [
            i for i, line in enumerate(lines) if line.split()[:1] in [[members[0]] for members in FAMILIES.values()]
        ]
        assert not any(lines[i - 1] for i in firsts[1:]), "a blank line between families"

    def test_lines(self) -> None:
        lines = {line.split()[0]: " ".join(line.split()[1:]) for line in printed(print_networks_on) if line}
        assert lines["vgg16"] == "2014 138.358 15,470.3 27.0 8.8 ILSVRC val, dense, S=Q=256"
        assert lines["resnet20"] == "2015 0.270 40.6 8.75 CIFAR-10, single view"
        assert lines["googlenet"] == "2014 6.999 1,582.7 – 10.07 ILSVRC val, 1 crop"
        assert lines["xception"] == "2016 22.856 8,357.4 21.0 5.5 ILSVRC val¹, 1 crop"
        assert lines["inception_resnet_v1"] == "2016 22.756 6,206.4 21.3 5.5 ILSVRC val¹, 1 crop²"
        assert lines["lenet5_relu"] == "– 0.062 0.4 – –"

    def test_one_family(self) -> None:
        lines = printed(lambda console: print_networks("zfnet", console))
        assert [line.split()[0] for line in lines if line.startswith("zf")] == list(FAMILIES["zfnet"])
        assert not any(line.startswith("vgg") for line in lines)
        with pytest.raises(RequestError, match="unknown family 'vg': nearest is vgg"):
            describe_networks("vg")


def print_networks_on(console: Console) -> None:
    print_networks(console=console)


class TestStory:
    @pytest.mark.parametrize("name", names())
    def test_tells_paper_counts_and_relatives(self, name: str) -> None:
        text, entry = story(name), ENTRIES[name]
        assert text.startswith(f"{entry['title']}  {name}\n")
        assert f"{entry['params']:,}" in text and f"{entry['macs']:,}" in text
        assert f"models/{entry['family']}.py" in text and f"convbench cost {name}" in text
        assert entry.get("paper", "in no paper") in text
        words = set(re.findall(r"\w+", text))
        assert set(FAMILIES[entry["family"]]) <= words
        json.dumps(describe_network(name))

    @pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "paper" in entry])
    def test_paper_is_in_the_ledger(self, name: str) -> None:
        told = describe_network(name)
        assert told["about"]
        if name == "lenet1":  # its paper of 1989 has no figures here
            assert told["published_in"] is None
            return
        assert told["published_in"]["title"] in story(name, 104)
        assert told["published_in"].get("year", told["year"]) == told["year"]
        assert told["published_in"].get("arxiv") == told.get("arxiv")

    def test_vgg16(self) -> None:
        text = story("vgg16")
        assert "Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556, public in 2014" in text
        assert re.search(r"^D +vgg16 +2 +2 +3 +3 +3 +138,357,544 +15,470,264,320$", text, re.MULTILINE)
        assert "VGG(column='D')" in text
        assert "138,357,544; printed 138M (table 2), 138,357,544 (torchvision 0.29)" in text
        assert re.search(r"^27.0 / 8.8 % +ILSVRC-2012 val, dense, S=256, Q=256 +table 3$", text, re.MULTILINE)
        assert "Departures\n- " in text and "`" not in text
        assert len(text.splitlines()) <= 55, "more than a screen"

    def test_unverified_figures_say_so(self) -> None:
        assert re.search(r"^21.3 / 5.5 % .*table 2,\s+unverified", story("inception_resnet_v1", 140), re.MULTILINE)
        assert "unverified" not in story("vgg16")

    def test_counts_of_parts_and_of_other_inputs_are_not_the_networks(self) -> None:
        """Table 10 counts a net of 120 classes, table 7 smaller images, GoogLeNet's table 1 single modules."""
        assert re.search(r"^parameters +4,231,976; printed 4.2M \(table 6\)$", story("mobilenet_v1"), re.MULTILINE)
        assert re.search(r"^multiply-adds +568,740,352; printed 569M \(table 6\)$", story("mobilenet_v1"), re.MULTILINE)
        assert "128M (table 1)" not in story("googlenet")

    def test_figures_of_another_paper_name_it(self) -> None:
        """AlexNet's replication is in the paper on ZFNet, the ablations' own paper."""
        sources = {figure["source"] for figure in describe_network("alexnet")["figures"] if figure["value"] == 40.5}
        assert sources == {"Zeiler & Fergus 2014, table 3"}
        assert any(figure["source"] == "table 3" for figure in describe_network("alexnet_no_fc7")["figures"])

    def test_departures_of_relatives_alone_are_left_to_them(self) -> None:
        def told(name: str) -> str:
            return "\n".join(describe_network(name)["departures"])

        assert "`lenet5_relu`" in told("lenet5_relu") and "`lenet5_relu`" not in told("lenet5")
        assert "LeNet-4" in told("lenet4") and "squared distance" in told("lenet5")

    def test_errors_of_lenet_are_those_of_its_entry(self) -> None:
        """The ledger keeps them among the claims of a suite, not among its figures."""
        assert re.search(r"^0.95 % +MNIST test, no distortions +figure 9$", story("lenet5"), re.MULTILINE)

    def test_commands_work(self) -> None:
        """Claims are offered for exactly those networks that a claim of the deck is about."""
        claimed = {name for claim in read_claims() for name in claim.networks}
        for name in names():
            second = f"claims --network {name}" if name in claimed else f"models --family {ENTRIES[name]['family']}"
            assert describe_network(name)["commands"] == [f"convbench cost {name}", f"convbench {second}"]
            assert f"convbench {second}" in story(name)

    def test_unknown_name_gives_the_nearest(self) -> None:
        with pytest.raises(RequestError, match="unknown network 'vgg61': nearest are vgg1"):
            print_story("vgg61")


DETECTORS = {entry["name"]: entry for entry in describe_detectors()}


class TestDetectors:
    def test_there_is_an_entry_for_each_registered_one(self) -> None:
        assert tuple(DETECTORS) == detectors.names()
        assert all(entry["family"] == detectors.family_of(name) for name, entry in DETECTORS.items())
        assert not DETECTORS.keys() & ENTRIES.keys()

    @pytest.mark.parametrize("name", detectors.names())
    def test_counts_are_those_of_the_detector(self, name: str) -> None:
        net, entry = open_on_meta(name), DETECTORS[name]
        cost = detector_cost(net, name)
        assert (entry["params"], entry["macs"]) == (cost.params, cost.macs)
        assert (entry["input"], entry["classes"]) == ([3, net.side, net.side], net.num_classes)

    def test_rows_are_the_suites_and_their_ap_the_ledgers(self) -> None:
        by_detector = dict[str, list[str]]()
        for spec in open_suite("detection-matrix")[1].detectors:
            by_detector.setdefault(spec.detector, []).append(spec.row)
        assert {name: entry["rows"] for name, entry in DETECTORS.items()} == by_detector
        assert [DETECTORS[name]["ap"] for name in ("ssd300_mobilenet_v1", "faster_rcnn_vgg16")] == [19.3, 25.7]

    def test_each_has_a_line_after_the_networks(self) -> None:
        lines = printed(print_networks_on)
        listed = [line for line in lines if line.split() and line.split()[0] in DETECTORS]
        assert [line.split()[0] for line in listed] == list(DETECTORS)
        assert " ".join(listed[-1].split()) == (
            "faster_rcnn_mobilenet_v1 2017 6.066 30,493.7 19.8 COCO minival, 600 pixels"
        )
        assert lines.index(listed[0]) > max(i for i, line in enumerate(lines) if line.startswith("mobilenet_v1"))
        assert not any(line.startswith("vgg") for line in printed(lambda console: print_networks("ssd", console)))

    @pytest.mark.parametrize("name", detectors.names())
    def test_story_tells_paper_counts_and_precision(self, name: str) -> None:
        text, entry = story(name), DETECTORS[name]
        assert text.startswith(f"{entry['title']}  {name}\n") and f"detection/{entry['family']}.py" in text
        assert f"{entry['params']:,}" in text and f"{entry['macs']:,}" in text and entry["paper"] in text
        told = {figure["value"] for figure in describe_network(name)["figures"] if figure["metric"] == "ap"}
        assert entry["ap"] in told and len(told) >= len(entry["rows"])
        assert all(re.search(rf"^AP +{value} %", text, re.MULTILINE) for value in told)
        json.dumps(describe_network(name))

    def test_story_of_one_size_has_its_printed_counts(self) -> None:
        assert "30,493,700,224; printed 30.5G (Howard et al. 2017, table 13)" in story("faster_rcnn_mobilenet_v1")
        assert "34,305,206; printed 33.1M (Howard et al. 2017, table 13)\n" in story("ssd300_vgg16")
        assert "learn in turns" in story("faster_rcnn_vgg16") and "sigmoid" not in story("ssd300_vgg16")

    def test_unknown_name_gives_the_nearest(self) -> None:
        with pytest.raises(RequestError, match="unknown network 'ssd300': nearest is ssd300_vgg16"):
            print_story("ssd300")


SOURCE = '''"""Nets: a first paragraph.

Someone, 2001. The layers of both,
top to bottom:

    one  3x3
    two  1x1

More prose.

    no caption

Departures
- The first one goes
  over two lines. Measured with noise:

      a  1
      b  2

  After the table.
- `left` has a bias.

Trap: not a departure.
"""

MAPS = {"left": 3}
VARIANTS = {
    "left": (Net, {"maps": MAPS, "groups": 2}),
    "right": (Net, {}),
    **{f"deep{depth}": (Net, {"depth": depth}) for depth in (1, 2)},
}
'''


class TestRetelling:
    def test_by_hand(self) -> None:
        assert retell(SOURCE, "left") == {
            "headline": "Nets: a first paragraph.",
            "tables": [
                {"caption": "The layers of both, top to bottom:", "text": "one  3x3\ntwo  1x1"},
                {"caption": "", "text": "no caption"},
            ],
            "departures": ["The first one goes over two lines. After the table.", "`left` has a bias."],
            "variant": "Net(maps=MAPS, groups=2)",
        }

    def test_variants_made_by_a_rule_are_not_guessed(self) -> None:
        assert retell(SOURCE, "right")["variant"] == "Net()"
        assert retell(SOURCE, "deep1")["variant"] is None

    def test_one_departure_in_a_line(self) -> None:
        assert retell('"""Nets.\n\nDepartures: the bias."""', "x")["departures"] == ["The bias."]
        assert retell('"""Nets."""', "x")["departures"] == []


def test_torch_is_not_loaded_for_a_story() -> None:
    code = "import sys; from convbench.report.stories import print_story; print_story('vgg16')"
    check = "assert not {'torch', 'numpy', 'pydantic'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True, capture_output=True)
