"""Filters, maps, top nine, occlusion, evolution, sanity, invariance: against plain loops, and as commands."""

from __future__ import annotations

import importlib
import io
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

import convbench as cb
from convbench.bench import top9 as keeping
from convbench.bench.explain import digest_of, grey_of, open_subject, prepare_image
from convbench.bench.top9 import kept_unit
from convbench.data import Preprocessing
from convbench.errors import RequestError
from convbench.explain.figure import Figure, Tile, coloured, in_colours, sheet, signed, stretched
from convbench.explain.projection import METHODS, Method
from convbench.training.loop import Options, checkpoint
from small_trainings import digits, recipe_with, trained
from test_cli import convbench, one_line

SIZED = Preprocessing(size=28)


@pytest.fixture(scope="module")
def learnt() -> nn.Module:
    """A network that tells digits apart."""
    recipe = recipe_with(loss="cross_entropy", network="lenet5_relu", preprocessing={"size": 28})
    return trained(recipe, digits(400))[0]


@pytest.fixture(scope="module")
def image() -> Tensor:
    return SIZED(digits(1).images)[0]


def test_filters_are_the_first_convolutions(learnt: nn.Module) -> None:
    found = cb.explain.filters(learnt)
    assert found.layer == "c1"
    assert torch.equal(found.weights, dict(learnt.named_parameters())["c1.weight"])
    assert cb.explain.filters(resnet18(weights=None), "layer1.0.conv2").weights.shape == (64, 64, 3, 3)


def test_filters_are_in_colour_where_they_see_colours() -> None:
    """Three inputs of a group of six maps are no colours; a depthwise filter is grey."""
    for conv, is_grid in ((nn.Conv2d(3, 4, 3), False), (nn.Conv2d(6, 4, 3, groups=2), True)):
        assert ("unit and input" in cb.explain.filters(conv, "").figure.title) is is_grid
    assert "unit and input" not in cb.explain.filters(nn.Conv2d(6, 6, 3, groups=6), "").figure.title


def test_filters_of_what_is_no_convolution_are_told() -> None:
    with pytest.raises(RequestError, match="convolution 'fc'"):
        cb.explain.filters(resnet18(weights=None), "fc")
    with pytest.raises(RequestError, match="expected a convolution"):
        cb.explain.filters(nn.Sequential(nn.Linear(3, 3)))


@pytest.mark.parametrize("layer", ["s2", "f6"])
def test_activations_are_the_features(learnt: nn.Module, image: Tensor, layer: str) -> None:
    found = cb.explain.activations(learnt, image, layer)
    with torch.no_grad():
        expected = cb.features(learnt.eval(), image[None], layer)[0]
    assert torch.equal(found.maps.flatten(), expected.flatten())
    assert found.maps.dim() == 3


def test_a_layer_without_maps_or_values_is_told(image: Tensor) -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(RequestError, match="found tuple"):
        cb.explain.activations(nn.Sequential(Pair()), image, "0")
    with pytest.raises(RequestError, match=r"found \(1, 1, 784\)"):
        cb.explain.activations(nn.Sequential(nn.Flatten(2)), image, "0")


@pytest.mark.parametrize("engine", ["eager", "openvino-fp32"])
def test_top9_finds_what_a_look_at_all_activations_finds(learnt: nn.Module, engine: str) -> None:
    source, layers = digits(300), ["c1", "f6"]
    tops = cb.explain.top9(learnt, source, layers, [0, 3, 5], preprocessing=SIZED, engine=engine)
    assert [top.layer for top in tops] == layers
    images = SIZED(source.images)
    for top in tops:
        with torch.no_grad():
            maps = cb.features(learnt.eval(), images, top.layer)
        peaks = maps.flatten(2).amax(2) if maps.dim() == 4 else maps
        for unit in top.units:
            best = peaks[:, unit.unit].topk(9)
            assert sorted(one.index for one in unit.strongest) == sorted(best.indices.tolist())
            found = [one.projection.activation for one in unit.strongest]
            torch.testing.assert_close(torch.tensor(found), best.values, rtol=1e-4, atol=1e-5)
            first = unit.strongest[0]
            alone = cb.explain.deconvnet(learnt, images[first.index], top.layer, unit.unit)
            torch.testing.assert_close(first.projection.pixels, alone.pixels, rtol=1e-4, atol=1e-5)
            assert (first.projection.position, first.projection.box) == (alone.position, alone.box)


def test_units_are_chosen_by_the_seed(learnt: nn.Module) -> None:
    def units(seed: int) -> list[int]:
        (top,) = cb.explain.top9(learnt, digits(20), ["f6"], 5, preprocessing=SIZED, count=1, seed=seed)
        return [unit.unit for unit in top.units]

    assert units(0) == units(0) != units(1)
    assert len(units(0)) == len(set(units(0))) == 5


def test_a_data_set_with_fewer_than_nine_images_gives_all(learnt: nn.Module) -> None:
    (top,) = cb.explain.top9(learnt, digits(4), ["c1"], 2, preprocessing=SIZED)
    assert [len(unit.strongest) for unit in top.units] == [4, 4]
    assert top.figure.image.width > 100
    assert "nine" not in top.figure.title


def test_top9_tells_a_unit_out_of_range(learnt: nn.Module) -> None:
    with pytest.raises(RequestError, match="c1: expected units from 0 to 5, found 6"):
        cb.explain.top9(learnt, digits(4), ["c1"], [0, 6], preprocessing=SIZED)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"units": 0}, "units: expected at least 1 of each layer, found 0"),
        ({"units": -3}, "units: expected at least 1 of each layer, found -3"),
        ({"units": []}, "units: expected at least 1 of each layer, found none"),
        ({"layers": []}, "layers: expected the name of at least one, found none"),
        ({"count": 0}, "count: expected at least 1 image for each unit, found 0"),
        ({"method": "guide"}, "unknown method 'guide'"),
    ],
)
def test_top9_of_nothing_is_told_before_the_images_are_read(
    learnt: nn.Module, asked: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("convbench.explain.top9"), "prepared", lambda *_: pytest.fail("read"))
    asked = {"layers": ["c1"], "units": 2, **asked}
    with pytest.raises(RequestError, match=expected):
        cb.explain.top9(learnt, digits(4), preprocessing=SIZED, **asked)


def test_a_layer_without_maps_is_named() -> None:
    with pytest.raises(RequestError, match=r"1: expected an output .* found \(1, 1, 784\)"):
        cb.explain.top9(nn.Sequential(nn.Identity(), nn.Flatten(2)), digits(4), ["0", "1"], preprocessing=SIZED)


@pytest.mark.parametrize("layer", [None, "c3"])
def test_occlusion_is_what_one_covered_image_after_the_other_gives(
    learnt: nn.Module, image: Tensor, layer: str | None
) -> None:
    found = cb.explain.occlusion(learnt, image, layer, square=7, steps=4, grey=[0.25], target=2)
    net = learnt.eval()
    for row, top in enumerate((0, 7, 14, 21)):
        for column, left in enumerate((0, 7, 14, 21)):
            covered = image[None].clone()
            covered[:, :, top : top + 7, left : left + 7] = 0.25
            with torch.no_grad():
                scores = net(covered)
            torch.testing.assert_close(found.probability[row, column], scores.softmax(1)[0, 2])
            assert found.answers[row, column] == scores.argmax()
            if layer is not None and found.activation is not None and found.projection is not None:
                with torch.no_grad():
                    summed = cb.features(net, covered, layer)[0, found.projection.unit].sum()
                torch.testing.assert_close(found.activation[row, column], summed)
    assert (found.activation is None) == (layer is None)
    with torch.no_grad():
        assert found.clean == pytest.approx(float(net(image[None]).softmax(1)[0, 2]), rel=1e-5)


def test_covering_the_digit_costs_probability_and_covering_the_margin_does_not(
    learnt: nn.Module, image: Tensor
) -> None:
    found = cb.explain.occlusion(learnt, image, square=8, steps=11, grey=[0.0])
    assert found.target == int(digits(1).labels[0])
    corner, least = float(found.probability[0, 0]), float(found.probability.min())
    assert abs(corner - found.clean) < 0.2 * found.clean
    assert least < 0.5 * found.clean


def test_an_occluder_prepares_its_engine_once_for_images_of_a_size(learnt: nn.Module, image: Tensor) -> None:
    occluder = cb.explain.Occluder(learnt, "c3", square=7, steps=4, engine="openvino-fp32")
    for one in (image, image.flip(2)):
        found, alone = occluder(one), cb.explain.occlusion(learnt, one, "c3", square=7, steps=4, engine="eager")
        torch.testing.assert_close(found.probability, alone.probability, atol=1e-4, rtol=1e-3)
        assert found.activation is not None and alone.activation is not None
        torch.testing.assert_close(found.activation, alone.activation, atol=1e-2, rtol=1e-3)
        assert found.target == alone.target and found.clean == pytest.approx(alone.clean, abs=1e-4)
    (session,) = occluder.sessions.values()
    assert session.engine == "openvino-fp32"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"square": 29}, "1 to 28 pixels, found 29"),
        ({"steps": 1}, "at least 2 places"),
        ({"grey": [0.5, 0.5, 0.5]}, "1 channels, found 3"),
        ({"target": 10}, "0 to 9, found 10"),
        ({"layer": "c9"}, "c9"),
    ],
)
def test_wrong_occlusions_are_told(
    learnt: nn.Module, image: Tensor, request_: dict[str, object], expected: str
) -> None:
    with pytest.raises(RequestError, match=expected):
        cb.explain.occlusion(learnt, image, **request_)  # type: ignore[arg-type]


def test_covering_tells_how_far_it_is_and_no_farther(learnt: nn.Module, image: Tensor) -> None:
    heard: list[tuple[str, int, int]] = []
    with cb.progress.told_to(lambda *said: heard.append(said)):
        cb.explain.occlusion(learnt, image, steps=3)
    assert heard[0] == ("covering", 0, 10)  # nine places, and the clean image
    assert heard[-1] == ("covering", 10, 10)


class Answering(nn.Module):
    """A convolution that reads colours, and what `make` makes of its maps."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.make = nn.Conv2d(3, 4, 3), make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.conv(x))


NO_SCORES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a dictionary": (lambda maps: {"out": maps}, "the network: expected an output of scores .* found dict"),
    "maps": (lambda maps: maps, r"the network: expected an output of scores .* found \(\d+, 4, 6, 6\)"),
}


@pytest.mark.parametrize("what", NO_SCORES)
def test_a_network_whose_output_is_no_scores_is_told(what: str) -> None:
    make, expected = NO_SCORES[what]
    net, image = Answering(make), torch.rand(3, 8, 8)
    with pytest.raises(RequestError, match=expected):
        cb.explain.occlusion(net, image, "conv")
    with pytest.raises(RequestError, match=expected):
        cb.explain.invariance(net, image, ["conv"])


def test_invariance_of_a_layer_without_maps_or_values_is_told() -> None:
    net = nn.Sequential(Answering(lambda maps: (maps, maps)))
    with pytest.raises(RequestError, match=r"0: expected an output .* found tuple"):
        cb.explain.invariance(net, torch.rand(3, 8, 8), ["0"])


READERS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "activations": lambda net, image: cb.explain.activations(net, image, "conv"),
    "deconvnet": lambda net, image: cb.explain.deconvnet(net, image, "conv"),
    "occlusion": lambda net, image: cb.explain.occlusion(net, image),
    "sanity": lambda net, image: cb.explain.sanity(net, image, "conv"),
    "invariance": lambda net, image: cb.explain.invariance(net, image, ["conv"]),
    "top9": lambda net, image: cb.explain.top9(net, digits(4), ["conv"], preprocessing=SIZED),
    "layers": lambda net, image: cb.explain.layers(net, tuple(image.shape)),
}


@pytest.mark.parametrize("reader", READERS)
def test_an_image_that_the_network_cannot_read_is_told(reader: str) -> None:
    with pytest.raises(RequestError, match=r"^Answering cannot read images of 1x28x28: .*channels[^\n]*$"):
        READERS[reader](Answering(lambda maps: maps.mean((2, 3))), torch.rand(1, 28, 28))


@pytest.mark.parametrize("average", [None, 0.9])
def test_checkpoints_are_the_weights_of_their_epochs(tmp_path: Path, average: float | None) -> None:
    """Those after the last epoch are the result's, those of epoch 1 the result of a training of so many steps."""
    recipe = recipe_with(network="lenet5_relu", loss="cross_entropy", preprocessing={"size": 28}, average=average)
    net, _ = trained(recipe, digits(64), folder=tmp_path, options=Options(keep=(0, 1, 3)))
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == [
        checkpoint(tmp_path, epoch).name for epoch in (0, 1, 3)
    ]

    def weights(epoch: int) -> dict[str, Tensor]:
        from safetensors.torch import load_file

        return load_file(checkpoint(tmp_path, epoch))

    assert all(torch.equal(value, weights(3)[key]) for key, value in net.state_dict().items())
    assert not any(torch.equal(value, weights(1)[key]) for key, value in weights(0).items())


def test_evolution_is_the_strongest_of_each_checkpoint(learnt: nn.Module) -> None:
    torch.manual_seed(0)
    before = cb.build("lenet5_relu", in_channels=1, image_size=28)
    found = cb.explain.evolution(
        iter([("epoch 0", before), ("epoch 3", learnt)]), digits(100), "c3", [1, 4], preprocessing=SIZED
    )
    assert [name for name, _ in found.stages] == ["epoch 0", "epoch 3"]
    for (_, top), net in zip(found.stages, (before, learnt), strict=True):
        (same,) = cb.explain.top9(net, digits(100), ["c3"], [1, 4], preprocessing=SIZED, count=1)
        assert [unit.strongest[0].index for unit in top.units] == [unit.strongest[0].index for unit in same.units]
    with pytest.raises(RequestError, match="found none"):
        cb.explain.evolution([], digits(4), "c3")
    with pytest.raises(RequestError, match="units: expected at least 1 of each layer, found 0"):
        cb.explain.evolution([("epoch 3", learnt)], digits(4), "c3", 0, preprocessing=SIZED)


@pytest.mark.parametrize("method", ["deconvnet", "gradient"])
def test_random_weights_change_the_picture(learnt: nn.Module, image: Tensor, method: str) -> None:
    before = {key: value.clone() for key, value in learnt.state_dict().items()}
    found = cb.explain.sanity(learnt, image, "f6", method=method)  # type: ignore[arg-type]
    assert [step.layer for step in found.steps] == ["f6", "c5", "c3", "c1"]
    assert all(torch.equal(value, before[key]) for key, value in learnt.state_dict().items())
    assert abs(found.steps[-1].signed) < 0.5
    assert all(-1 <= step.signed <= 1 and -1 <= step.magnitudes <= 1 for step in found.steps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_network_whose_weights_stay_keeps_its_picture(image: Tensor, sign: int, method: Method) -> None:
    """All numbers of a convolution are the same, so that random ones of their mean and deviation are, too."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Conv2d(2, 2, 3, bias=False))
    nn.init.constant_(net[0].weight, 0.5)
    nn.init.constant_(net[2].weight, 0.5 * sign)
    found = cb.explain.sanity(net, image + 1, "2", unit=0, method=method)
    assert found.trained.activation * sign > 0
    rectified = method == "guided" and sign < 0  # what begins with 1 is stopped at once
    for step in found.steps:
        assert (step.signed, step.magnitudes) == pytest.approx((0, 0) if rectified else (1, 1))


def test_real_weights_that_stay_keep_a_negative_answers_picture(
    real_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = open_subject("resnet20", real_weights / "resnet20-12fca82f.th").net
    image = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        unit = int(net.eval()(image[None])[0].argmin())
    monkeypatch.setattr(importlib.import_module("convbench.explain.sanity"), "_like", lambda parameter, _: parameter)
    found = cb.explain.sanity(net, image, "fc", unit)
    assert found.trained.activation < 0 < found.trained.pixels.abs().max()
    assert len(found.steps) == 20  # of 20 weighted layers
    for step in found.steps:
        assert step.signed == pytest.approx(1) and step.magnitudes == pytest.approx(1), step.layer


def test_layers_that_do_not_lead_to_the_layer_are_no_steps(image: Tensor) -> None:
    class Branches(nn.Module):
        """Of which the first to run is not the one that is looked into; a normalisation goes with its layer."""

        def __init__(self) -> None:
            super().__init__()
            self.stem, self.beside = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
            self.branch = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            self.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return torch.cat([self.beside(x), self.branch(x)], 1)

    net = Branches()
    assert [step.layer for step in cb.explain.sanity(net, image, "branch").steps] == ["branch.0", "stem"]
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert cb.explain.sanity(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 1)), image, "0").steps == ()


@pytest.mark.parametrize(("change", "same"), [("translation", 0.0), ("scale", 1.0), ("rotation", 360.0)])
def test_what_is_not_changed_is_not_far(learnt: nn.Module, image: Tensor, change: str, same: float) -> None:
    amounts = [same, {"translation": 9.0, "scale": 2.0, "rotation": 90.0}[change]]
    found = cb.explain.invariance(learnt, image, ["c1", "f6"], change, amounts)
    for layer in ("c1", "f6"):
        near, far = found.distances[layer]
        assert near < 1e-3 < 0.1 < far, layer
    torch.testing.assert_close(found.images[0], image, atol=1e-3, rtol=0)


def test_a_distance_is_that_of_the_features(learnt: nn.Module, image: Tensor) -> None:
    found = cb.explain.invariance(learnt, image, ["c3"], amounts=[5.0])
    with torch.no_grad():
        here, there = (cb.features(learnt.eval(), one[None], "c3") for one in (image, found.images[0]))
        scores = learnt(found.images)
    torch.testing.assert_close(found.images[0, :, :, 5:], image[:, :, :-5], atol=1e-5, rtol=0)
    assert found.distances["c3"][0] == pytest.approx(float((there - here).norm() / here.norm()), rel=1e-5)
    assert found.probability[0] == pytest.approx(float(scores.softmax(1)[0, found.target]), rel=1e-5)


@pytest.mark.parametrize(("width", "step", "most"), [(28, 1, 8), (224, 10, 60)])
def test_images_are_moved_by_a_share_of_their_width(width: int, step: int, most: int) -> None:
    found = cb.explain.invariance(Answering(lambda maps: maps.mean((2, 3))), torch.rand(3, 16, width), ["conv"])
    assert found.amounts[0] == -most and found.amounts[-1] == most
    assert len(found.amounts) == 13 and min(b - a for a, b in itertools.pairwise(found.amounts)) == step


def test_wrong_changes_are_told(learnt: nn.Module, image: Tensor) -> None:
    for wrong in ([], [float("nan")]):
        with pytest.raises(RequestError, match="amounts: expected at least one, and finite numbers"):
            cb.explain.invariance(learnt, image, ["c1"], "scale", wrong)
    with pytest.raises(RequestError, match="layers: expected the name of at least one"):
        cb.explain.invariance(learnt, image, [])
    with pytest.raises(RequestError, match="rotation"):
        cb.explain.invariance(learnt, image, ["c1"], "rotate")
    with pytest.raises(RequestError, match="above 0"):
        cb.explain.invariance(learnt, image, ["c1"], "scale", [0.0])


def test_scales_of_pictures() -> None:
    assert signed(torch.tensor([-2.0, 0, 1])).tolist() == [0, 0.5, 0.75]
    assert stretched(torch.tensor([-2.0, 0, 2])).tolist() == [0, 0.5, 1]
    assert signed(torch.zeros(3)).tolist() == [0.5] * 3
    assert bool(coloured(torch.arange(4.0).reshape(2, 2)).isfinite().all())
    assert bool(coloured(torch.ones(2, 2)).isfinite().all())
    assert len({tuple(in_colours(torch.tensor([[i]]), [3, 5]).flatten().tolist()) for i in (3, 5, 7, 8)}) == 3


def test_a_figure_is_a_png_in_a_notebook_and_in_a_file(tmp_path: Path) -> None:
    figure = sheet([[Tile(torch.rand(3, 8, 6), "a caption", (1, 1, 5, 5))]], "a title <")
    assert isinstance(figure, Figure)
    assert 'alt="a title &lt;"' in figure._repr_html_()
    file = figure.save(tmp_path / "new" / "one.png")
    assert Image.open(io.BytesIO(file.read_bytes())).size == figure.image.size
    assert figure.save(tmp_path / "two.PNG").is_file()
    for wrong, expected in (("one.jpeg", r"ends in \.png"), ("new/one.png/x.png", "folder")):
        with pytest.raises(RequestError, match=expected):
            figure.save(tmp_path / wrong)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(RequestError, match=r"found the folder .*folder\.png"):
        figure.save(tmp_path / "folder.png")


MINE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 18 * 18, 3))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with its checkpoints, and a picture of a digit beside it."""
    folder = tmp_path_factory.mktemp("explained")
    settings = ["data=digits", "epochs=2", "preprocessing.size=28", "preprocessing.pad=0"]
    asked = [part for one in settings for part in ("--set", one)]
    done = convbench("train", "lenet5-relu", *asked, "--out", "run", "--keep", "0,1,2", folder=folder)
    assert done.returncode == 0, done.stderr
    digit = digits(1).images[0, 0].to(torch.uint8)
    Image.fromarray(digit.numpy()).resize((64, 64)).save(folder / "digit.png")
    (folder / "text.png").write_text("no image")
    (folder / "mine.py").write_text(MINE)
    return folder / "run"


COMMANDS = {
    "filters": ["lenet5_relu"],
    "activations": ["lenet5_relu", "digit.png", "--layer", "c3"],
    "deconvnet": ["lenet5_relu", "digit.png", "--layer", "c3", "--unit", "2", "--position", "3,4"],
    "occlusion": ["lenet5_relu", "digit.png", "--layer", "c3", "--steps", "4"],
    "sanity": ["lenet5_relu", "digit.png", "--layer", "c3"],
    "invariance": ["lenet5_relu", "digit.png", "--layers", "c1,f6", "--change", "rotation", "--amounts", "-15,0,22.5"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_a_picture(run: Path, command: str) -> None:
    asked = ["explain", command, *COMMANDS[command], "--weights", "run"]
    done = convbench(*asked, "--out", f"{command}.png", "--json", folder=run.parent)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["picture"] == f"{command}.png"
    assert min(Image.open(run.parent / said["picture"]).size) > 50
    if command == "deconvnet":
        assert (said["unit"], said["position"], said["method"]) == (2, [3, 4], "deconvnet")
        loaded = open_subject("lenet5_relu", run)
        there = cb.explain.deconvnet(loaded.net, prepare_image(loaded, run.parent / "digit.png"), "c3", 2, (3, 4))
        assert said["activation"] == pytest.approx(there.activation, rel=1e-5)
    if command == "invariance":
        assert said["amounts"] == [-15, 0, 22.5]


def test_top9_is_kept_with_the_run(run: Path) -> None:
    asked = [
        "explain",
        "top9",
        "lenet5_relu",
        "--weights",
        "run",
        "--data",
        "digits",
        "--layers",
        "c1,c3",
        "--units",
        "3",
    ]
    first = convbench(*asked, folder=run.parent)
    assert first.returncode == 0, first.stderr
    (kept,) = (run / "explain" / "top9").iterdir()
    assert kept.name.startswith("deconvnet-")
    assert sorted(file.name for file in kept.iterdir()) == ["c1.png", "c3.png", "top9.json", "units"]
    assert len(list((kept / "units").glob("c[13]-*-*.png"))) == 2 * 3 * 2
    told = [f"picture: run/explain/top9/{kept.name}/{layer}.png" for layer in ("c1", "c3")]
    assert first.stdout.splitlines() == told
    written = {file: file.stat().st_mtime_ns for file in kept.rglob("*")}
    again = convbench(*asked, folder=run.parent)
    assert again.stdout == first.stdout
    assert {file: file.stat().st_mtime_ns for file in kept.rglob("*")} == written


def kept_answer(run: Path, out: Path, layers: list[str], units: list[int], method: Method = "deconvnet") -> Any:
    """As it is read from its file."""
    answer = keeping.top9("lenet5_relu", run, "digits", layers, units, out, method=method, engine="eager")
    return json.loads(json.dumps(answer))


def test_every_question_keeps_an_answer_of_its_own(run: Path, tmp_path: Path) -> None:
    ask = partial(kept_answer, run, tmp_path)
    first, others = ask(layers=["c3"], units=[1]), [ask(layers=["c1"], units=[1]), ask(layers=["c3"], units=[1, 2])]
    guided = ask(layers=["c3"], units=[1], method="guided")
    assert len(list(tmp_path.iterdir())) == 4
    assert ask(layers=["c3"], units=[1]) == first
    digest = digest_of(open_subject("lenet5_relu", run).net)
    for answer, layer, unit, method in (
        *((others[0], "c1", 1, "deconvnet"), (others[1], "c3", 2, "deconvnet"), (others[1], "c3", 1, "deconvnet")),
        *((guided, "c3", 1, "guided"), (guided, "c3", 1, "gradient"), (others[0], "c1", 1, "guided")),
    ):
        kept = kept_unit(tmp_path, digest, layer, unit, method)
        (one,) = (one for of in answer["layers"] for one in of["units"] if one["unit"] == unit)
        assert kept is not None and kept.method == answer["asked"]["method"]
        assert kept.pictures == tuple(tmp_path / name for name in one["pictures"])
        assert kept.strongest == one["strongest"]
    assert kept_unit(tmp_path, digest, "c3", 3, "deconvnet") is None


def test_a_folder_that_cannot_be_is_told_before_the_images_are_read(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(cb.explain, "top9", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(RequestError, match="cannot make the folder"):
        kept_answer(run, tmp_path / "file", ["c1"], [0])


def test_an_interruption_before_the_record_leaves_no_false_answer(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = partial(kept_answer, run, tmp_path, ["c1"], [0])
    first, digest = ask(), digest_of(open_subject("lenet5_relu", run).net)

    def contents() -> dict[str, bytes]:
        names = [*first["pictures"], *first["layers"][0]["units"][0]["pictures"]]
        return {name: (tmp_path / name).read_bytes() for name in names}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    before = contents()
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(method="guided")
    assert len(list(tmp_path.glob("guided-*/*.png"))) == 1  # it came as far as the pictures
    assert contents() == before
    kept = kept_unit(tmp_path, digest, "c1", 0, "guided")
    assert kept is not None and kept.method == "deconvnet"
    guided = ask(method="guided")
    kept = kept_unit(tmp_path, digest, "c1", 0, "guided")
    assert kept is not None and kept.method == "guided"
    assert ask() == first and contents() == before
    (tmp_path / guided["pictures"][0]).unlink()
    kept = kept_unit(tmp_path, digest, "c1", 0, "guided")
    assert kept is not None and kept.method == "deconvnet"


def test_evolution_of_a_run(run: Path) -> None:
    done = convbench("explain", "evolution", "run", "--layer", "c3", "--units", "1,2", "--json", folder=run.parent)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [stage["name"] for stage in said["stages"]] == ["epoch 0", "epoch 1", "epoch 2"]
    assert (run / "explain" / "evolution-c3.png").is_file()


def test_a_callable_needs_no_weights(tmp_path: Path, run: Path) -> None:
    done = convbench("explain", "filters", "torchvision.models:resnet18", "--out", "f.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.png").is_file()


def test_a_callable_reads_images_as_it_is_told(run: Path) -> None:
    asked = ["activations", "mine:Net", "digit.png", "--layer", "0", "--image-size", "20", "--in-channels", "1"]
    done = convbench("explain", *asked, "--mean", "0.5", "--std", "0.25", "--out", "m.png", "--json", folder=run.parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["shape"] == [2, 18, 18]


def test_a_callables_images_are_scaled_as_it_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    monkeypatch.syspath_prepend(run.parent)
    loaded = open_subject("mine:Net", None, image_size=20, in_channels=1, mean=[0.5], std=[0.25])
    plain = open_subject("mine:Net", None, image_size=20, in_channels=1)
    prepared, unscaled = (prepare_image(one, Path("digit.png")) for one in (loaded, plain))
    assert prepared.shape == (1, 20, 20) and 0 <= float(unscaled.min()) < float(unscaled.max()) <= 1
    torch.testing.assert_close(prepared, (unscaled - 0.5) / 0.25)
    (top,) = cb.explain.top9(loaded.net, digits(4), ["0"], 1, preprocessing=loaded.preprocessing)  # of 8x8 pixels
    assert top.units[0].strongest[0].projection.image.shape == (1, 20, 20)
    with pytest.raises(RequestError, match="its weights say how images are prepared: expected no --mean"):
        open_subject("lenet5_relu", run, mean=[0.5])


ONE_LINE = {
    "no weights": (["filters", "lenet5_relu"], 2, "expected --weights"),
    "a layer that does not exist": (
        ["activations", "lenet5_relu", "digit.png", "--layer", "c9", "--weights", "run"],
        2,
        "c9",
    ),
    "a unit out of range": (
        ["deconvnet", "lenet5_relu", "digit.png", "--layer", "c3", "--unit", "99", "--weights", "run"],
        *(2, "0 to 15, found 99"),
    ),
    "a text file": (
        ["deconvnet", "lenet5_relu", "text.png", "--layer", "c3", "--weights", "run"],
        2,
        "expected an image",
    ),
    "no file": (["occlusion", "lenet5_relu", "none.png", "--weights", "run"], 2, "none.png"),
    "a position that is none": (
        ["deconvnet", "lenet5_relu", "digit.png", "--layer", "c3", "--position", "3", "--weights", "run"],
        *(2, "ROW,COLUMN"),
    ),
    "another network's weights": (["filters", "vgg16", "--weights", "run"], 2, "lenet5_relu"),
    "a network without convolutions": (["filters", "mlp:Made", "--weights", "run"], 2, "brings its own weights"),
    "units that are none": (
        ["top9", "lenet5_relu", "--weights", "run", "--data", "digits", "--layers", "c1", "--units", "many"],
        *(2, "--units"),
    ),
    "no units": (
        ["top9", "lenet5_relu", "--weights", "run", "--data", "digits", "--layers", "c1", "--units", "0"],
        *(2, "units: expected at least 1"),
    ),
    "an image that the network cannot read": (
        ["activations", "mine:Net", "digit.png", "--layer", "0"],
        *(2, "Net cannot read images of 3x224x224"),
    ),
    "a picture that is no PNG, before the weights are looked for": (
        ["filters", "lenet5_relu", "--weights", "none", "--out", "x.jpg"],
        *(2, "ends in .png, found x.jpg"),
    ),
    "a picture in a folder that is a file, likewise": (
        ["filters", "lenet5_relu", "--weights", "none", "--out", "text.png/x.png"],
        *(2, "cannot make the folder text.png"),
    ),
    "amounts that are none": (
        ["invariance", "lenet5_relu", "digit.png", "--layers", "c1", "--amounts", "1,b", "--weights", "run"],
        *(2, "--amounts expects numbers"),
    ),
    "a run without checkpoints": (["evolution", ".", "--layer", "c3"], 2, "a training that has ended"),
}


@pytest.mark.parametrize("case", ONE_LINE)
def test_bad_input_gives_one_line(run: Path, case: str) -> None:
    asked, code, expected = ONE_LINE[case]
    assert expected in one_line(convbench("explain", *asked, folder=run.parent), code)
    assert not list(run.parent.glob("*-*.png"))


REAL = {
    "mobilenet_v1": "mobilenet_v1_1.0_224_keras_imagenet.npz",
    "resnet50": "resnet50_imagenet_pruned_int8_bnfolded.npz",
}


@pytest.mark.parametrize("network", REAL)
def test_real_networks_see_the_object(real_data: Path, real_weights: Path, network: str) -> None:
    """Of photographs that it is sure of, its projected answer is strong where covering costs probability.

    Of the 49 places of the square those twelve with most of the projection cost more than places do on average, and
    more than those that random weights choose, whose projections follow the image's edges alone.
    """
    loaded = open_subject(network, real_weights / REAL[network])
    images = loaded.preprocessing(cb.open_dataset("imagenet-val", "test", data_dir=real_data).images[:16])
    with torch.no_grad():
        sure = images[loaded.net.eval()(images).softmax(1).amax(1) > 0.8][:4]
    assert len(sure) == 4
    torch.manual_seed(0)
    nets = {"trained": loaded.net, "random": cb.build(network)}
    most, costs = list[float](), {"anywhere": list[float](), **{name: list[float]() for name in nets}}
    for image in sure:
        found = cb.explain.occlusion(loaded.net, image, square=44, steps=7, grey=grey_of(loaded))
        drops = (found.clean - found.probability).flatten()
        most.append(float(drops.max()))
        costs["anywhere"].append(float(drops.mean()))
        for name, net in nets.items():
            pixels = cb.explain.deconvnet(net, image, "", found.target, method="guided").pixels
            covered = F.avg_pool2d(pixels.abs().sum(0)[None, None], 44, 30).flatten()  # of each place, as 6 * 30 + 44
            costs[name].append(float(drops[covered.topk(12).indices].mean()))
    mean = {name: sum(values) / len(values) for name, values in costs.items()}
    assert sum(most) / len(most) > 0.2
    assert mean["trained"] > 2 * mean["anywhere"]
    assert mean["trained"] > 1.2 * mean["random"]


def test_units_of_a_real_networks_last_stage_know_classes(real_data: Path, real_weights: Path) -> None:
    """Of the nine images at which one is strongest, most are of one class; by chance, not three would be."""
    loaded = open_subject("resnet56", real_weights / "resnet56-4bfd9763.th")
    source = cb.open_dataset("cifar10", "test", data_dir=real_data).subset(torch.arange(1000))
    first, last = cb.explain.top9(
        loaded.net, source, [loaded.net.stages[0], loaded.net.stages[-1]], 12, preprocessing=loaded.preprocessing
    )

    def share(top: cb.explain.LayerTop) -> float:
        """Of the most frequent class among a unit's nine images, on average."""
        most = [source.labels[[one.index for one in unit.strongest]].bincount().max() for unit in top.units]
        return float(torch.stack(most).float().mean()) / 9

    assert share(first) < 0.5 < 0.6 < share(last)
    for unit in last.units[:3]:
        for one in unit.strongest[:2]:
            assert one.projection.pixels.abs().max() > 0
            checked = cb.explain.sanity(loaded.net, one.projection.image, last.layer, unit.unit)
            assert abs(checked.steps[-1].signed) < 0.4
