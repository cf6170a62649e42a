"""Crops of the papers: torchvision's as oracle, windows counted by hand, dense maps against sliding windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from convbench.data import Dataset, Preprocessing
from convbench.data.folder import PhotographSet
from convbench.errors import ConvbenchError, RequestError
from convbench.evaluation.cropped import Cropped
from convbench.evaluation.crops import CROPS, open_crops
from convbench.evaluation.dense import FullyConvolutional
from convbench.models import build

SHORTER = Preprocessing(shorter=16, crop=14)  # as 256 and 224


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def in_memory(images: Tensor, shorter: int | None = None) -> Dataset:
    labels = torch.zeros(len(images), dtype=torch.int64)
    return Dataset("noise", "test", images, labels, ("a", "b", "c"), "a test", shorter)


class Recorder:
    """A network of three classes that keeps what it was shown."""

    def __init__(self) -> None:
        self.seen = list[Tensor]()

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.flatten(1)[:, :3] * 10


def shown(photograph: Tensor, crops: str, preprocessing: Preprocessing = SHORTER, side: int = 14) -> Tensor:
    net = Recorder()
    Cropped(in_memory(photograph[None]), CROPS[crops], preprocessing, (3, side, side)).scores(net)
    return torch.cat(net.seen)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (40, 24), (24, 42)])
def test_ten_crops_are_torchvisions_of_the_central_square(height: int, width: int) -> None:
    photograph = noise(3, height, width)
    resized = Preprocessing(shorter=16).geometry(photograph[None])[0]
    expected = torch.stack(v2.TenCrop(14)(v2.CenterCrop(16)(resized)))
    found = shown(photograph, "ten")
    torch.testing.assert_close(found, expected[[*range(5), 6, 5, 8, 7, 9]], msg="it mirrors first, then cuts")
    torch.testing.assert_close(found[4], Preprocessing(shorter=16, crop=14)(photograph[None])[0], msg="centre")


def test_corners_are_cut_from_the_square_and_not_the_photograph() -> None:
    photograph = torch.zeros(3, 16, 48, dtype=torch.uint8)
    photograph[:, :, :16] = photograph[:, :, 32:] = 255
    assert float(shown(photograph, "ten").max()) == 0


OF_VGG = {"dense": 2, "dense-multi-scale": 6, "multi-crop": 150, "combined": 156}
COUNTS = {"centre": 1, "ten": 10, **OF_VGG, **{f"{name}-jittered": views for name, views in OF_VGG.items()}}


@pytest.mark.parametrize(("name", "views"), {**COUNTS, "resnet-dense": 10, "googlenet-144": 144}.items())
def test_so_many_views(name: str, views: int) -> None:
    assert CROPS[name].views == views
    if not CROPS[name].is_dense and views > 1:
        assert len(shown(noise(3, 20, 30), name)) == views


def ruled(height: int, width: int) -> Tensor:
    """A photograph that says of each pixel where it is: red counts rows, green pairs of columns."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width) // 2, indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)


def places(views: Tensor) -> list[tuple[int, int]]:
    """The top left pixel of windows of a ruled photograph, where it was not resized."""
    return [(round(float(view[0, 0, 0]) * 255), 2 * round(float(view[1, 0, 0]) * 255)) for view in views]


def test_multi_crop_is_a_grid_over_all_of_the_photograph_at_three_scales() -> None:
    """At 256 x 512 pixels the windows of 224 begin at 0, 8, .. 32 down and 0, 72, .. 288 to the right."""
    views = shown(ruled(256, 512), "multi-crop", Preprocessing(shorter=256, crop=224), 224)
    at_256 = views[25:50]
    assert places(at_256) == [(top, left) for top in (0, 8, 16, 24, 32) for left in (0, 72, 144, 216, 288)]
    torch.testing.assert_close(views[100:125], at_256.flip(3))
    at_224 = Preprocessing(shorter=224).geometry(ruled(256, 512)[None])
    assert at_224.shape[2:] == (224, 448)
    torch.testing.assert_close(
        views[:25], torch.cat([at_224[..., left : left + 224] for left in (0, 56, 112, 168, 224)] * 5)
    )


def heights_and_widths(name: str) -> list[tuple[int, ...]]:
    """Of the dense views of a photograph of 300 x 450 pixels, by a network of 224, resized to 256 in training."""
    part, photograph = CROPS[name].parts[0], noise(3, 300, 450)
    return [tuple(views.shape) for views in part.of(photograph, part.scales.lengths(256, 224, 1), 224)]


def test_a_network_trained_with_jitter_is_seen_densely_at_its_least_middle_and_largest_scale() -> None:
    assert heights_and_widths("dense-jittered") == [(2, 3, 384, 576)]
    three = [(2, 3, 256, 384), (2, 3, 384, 576), (2, 3, 512, 768)]
    assert heights_and_widths("dense-multi-scale-jittered") == heights_and_widths("combined-jittered") == three


def test_its_grid_reaches_the_edges_at_each_of_these_scales() -> None:
    """At 256 x 512 pixels as above; at 384 x 768 windows begin at 0, 40, .. 160 down and 0, 136, .. 544 right."""
    photograph = ruled(256, 512)
    views = shown(photograph, "multi-crop-jittered", Preprocessing(shorter=256, crop=224), 224)
    assert places(views[:25]) == [(top, left) for top in (0, 8, 16, 24, 32) for left in (0, 72, 144, 216, 288)]
    for first, length, down, right in ((25, 384, 40, 136), (50, 512, 72, 200)):
        larger = Preprocessing(shorter=length).geometry(photograph[None])[0]
        cut = [larger[:, i * down :, j * right :][:, :224, :224] for i in range(5) for j in range(5)]
        torch.testing.assert_close(views[first : first + 25], torch.stack(cut))
    torch.testing.assert_close(views[75:], views[:75].flip(3))
    grid, both = CROPS["multi-crop-jittered"].parts, CROPS["combined-jittered"].parts
    assert both == (*CROPS["dense-multi-scale-jittered"].parts, *grid)


@pytest.mark.parametrize("upright", [False, True])
def test_the_144_by_hand(upright: bool) -> None:
    """Section 7, for 256 x 512: squares at 0, 128, 256; of each the corners 32 pixels apart, the centre, the whole."""
    photograph = ruled(512, 256) if upright else ruled(256, 512)
    views = shown(photograph, "googlenet-144", Preprocessing(shorter=256, crop=224), 224)
    at_256 = views[:18].unflatten(0, (3, 6))
    for square, start in zip(at_256, (0, 128, 256), strict=True):
        down, right = (start, 0) if upright else (0, start)
        corners = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
        if not upright or start == 0:  # red ends at 255
            assert places(square[:5]) == [(top + down, left + right) for top, left in corners]
        whole = photograph[:, down : down + 256, right : right + 256].permute(1, 2, 0).numpy()
        resized = Image.fromarray(whole).resize((224, 224), Image.Resampling.BILINEAR)
        difference = square[5].permute(1, 2, 0) * 255 - torch.from_numpy(np.array(resized)).float()
        assert float(difference.abs().max()) <= 1, "Pillow rounds twice"
    torch.testing.assert_close(views[72:], views[:72].flip(3))
    for number, length in enumerate((288, 320, 352), start=1):
        larger = Preprocessing(shorter=length).geometry(photograph[None])
        torch.testing.assert_close(views[18 * number], larger[0, :, :224, :224])
        torch.testing.assert_close(views[18 * number + 15], larger[0, :, -224:, -224:])


# Dense


def unpadded(side: int = 12) -> nn.Sequential:
    """Two convolutions without padding, total stride 2, and three linear layers."""
    torch.manual_seed(1)
    grid = ((side - 2) // 2 - 2) ** 2
    trunk = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU())
    head = (nn.Linear(5 * grid, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    return nn.Sequential(*trunk, nn.Flatten(), *head)


def test_the_map_is_the_network_at_every_place() -> None:
    """Without padding a place of the map sees its window and nothing else: equal to rounding."""
    net = unpadded().eval()
    dense, images = FullyConvolutional(net, (3, 12, 12)).eval(), torch.randn(2, 3, 20, 17)
    scores = dense.net(images)
    assert scores.shape == (2, 3, 5, 3)
    for i, top in enumerate(range(0, 9, 2)):
        for j, left in enumerate(range(0, 6, 2)):
            window = net(images[:, :, top : top + 12, left : left + 12])
            torch.testing.assert_close(scores[:, :, i, j], window, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(dense(images), scores.mean(dim=(2, 3)))


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "alexnet", "zfnet", "lenet5_relu"])
def test_on_its_own_window_a_dense_network_is_the_network(name: str) -> None:
    side = {"alexnet": 67, "zfnet": 63}.get(name, 32)
    torch.manual_seed(0)
    net = build(name, num_classes=10, image_size=side, in_channels=3).eval()
    images = torch.randn(2, 3, side, side)
    dense = FullyConvolutional(net, (3, side, side)).eval()
    assert dense.net(images).shape == (2, 10, 1, 1)
    torch.testing.assert_close(dense(images), net(images), atol=1e-5, rtol=1e-4)


def test_padding_shows_a_dense_window_its_surroundings() -> None:
    """VGG pads: a window of a larger image is not the window alone, and the paper says so (section 3.2, 4.3)."""
    torch.manual_seed(0)
    net = build("vgg11", num_classes=10, image_size=32).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        scores = FullyConvolutional(net, (3, 32, 32)).eval().net(images)
        alone = net(images[:, :, :32, :32])
    assert scores.shape == (1, 10, 2, 2)
    assert 0.01 < float((scores[:, :, 0, 0] - alone).abs().max() / alone.abs().max()) < 2


def test_a_network_that_averages_its_map_is_dense_as_it_is() -> None:
    torch.manual_seed(0)
    net = build("resnet20", num_classes=10).eval()
    images = torch.randn(2, 3, 40, 48)
    torch.testing.assert_close(FullyConvolutional(net, (3, 32, 32)).eval()(images), net(images))


def test_dense_shares_the_weights_and_leaves_the_network() -> None:
    net = unpadded()
    dense = FullyConvolutional(net, (3, 12, 12))
    assert net.training and isinstance(net[6], nn.Linear) and not net[0]._forward_pre_hooks
    assert {p.data_ptr() for p in dense.parameters()} == {p.data_ptr() for p in net.parameters()}


def test_other_heads_are_refused() -> None:
    head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LayerNorm(400), nn.Linear(400, 3))
    with pytest.raises(RequestError, match="found 2, a LayerNorm; nearest are crops of the network's own size"):
        FullyConvolutional(head, (3, 12, 12))


# Averages


def test_scores_are_the_mean_of_the_softmax_of_each_view() -> None:
    net, images = unpadded(14), noise(4, 3, 16, 16)
    found = Cropped(in_memory(images), CROPS["ten"], SHORTER, (3, 14, 14)).scores(net)
    net.eval()
    for scores, image in zip(found, images, strict=True):
        views = torch.stack(v2.TenCrop(14)(image / 255))
        torch.testing.assert_close(scores, net(views).double().softmax(dim=1).mean(dim=0), atol=1e-7, rtol=1e-6)


def test_dense_averages_logits_over_the_map_and_probabilities_over_the_rest() -> None:
    net, image = unpadded(14), noise(1, 3, 21, 16)
    found = Cropped(in_memory(image), CROPS["dense-multi-scale"], SHORTER, (3, 14, 14)).scores(net)[0]
    net.eval()
    probabilities = []
    for length in (14, 16, 18):
        x = Preprocessing(shorter=length).geometry(image)
        for seen in (x, x.flip(3)):
            windows = seen.unfold(2, 14, 2).unfold(3, 14, 2).permute(2, 3, 0, 1, 4, 5).flatten(0, 2)
            probabilities.append(net(windows).mean(dim=0).double().softmax(dim=0))
    torch.testing.assert_close(found, torch.stack(probabilities).mean(dim=0), atol=1e-6, rtol=1e-5)


def test_combined_weighs_dense_and_windows_alike() -> None:
    net, data = unpadded(14), in_memory(noise(2, 3, 18, 20))
    dense, multi, both = (
        Cropped(data, CROPS[name], SHORTER, (3, 14, 14)).scores(net)
        for name in ("dense-multi-scale", "multi-crop", "combined")
    )
    torch.testing.assert_close(both, (dense + multi) / 2)


def test_the_centre_gives_logits() -> None:
    net, images = unpadded(14), noise(3, 3, 16, 16)
    cropped = Cropped(in_memory(images), CROPS["centre"], SHORTER, (3, 14, 14))
    logits = cropped.scores(net)
    torch.testing.assert_close(logits, net.eval()(images[:, :, 1:15, 1:15] / 255))
    torch.testing.assert_close(cropped.probabilities(logits), logits.double().softmax(dim=1))
    assert net.training is False


# Data sets


@pytest.fixture
def photographs(tmp_path: Path) -> PhotographSet:
    sizes = ((20, 30), (40, 25), (24, 24))
    for number, (height, width) in enumerate(sizes):
        pixels = noise(3, height, width, seed=number).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    files = tuple(f"{number}.png" for number in range(len(sizes)))
    return PhotographSet("three", "test", tmp_path, files, torch.tensor([0, 1, 2]), ("a", "b", "c"), "a test")


@pytest.mark.parametrize("name", list(CROPS))
def test_photographs_in_files_are_seen_as_those_in_memory(photographs: PhotographSet, name: str) -> None:
    net = unpadded(14)
    found = Cropped(photographs, CROPS[name], SHORTER, (3, 14, 14)).scores(net)
    for number, (height, width) in enumerate(((20, 30), (40, 25), (24, 24))):
        alone = in_memory(noise(1, 3, height, width, seed=number))
        torch.testing.assert_close(
            found[number : number + 1], Cropped(alone, CROPS[name], SHORTER, (3, 14, 14)).scores(net)
        )


@pytest.mark.parametrize("name", ["centre", "ten"])
def test_of_photographs_an_eighth_more_is_seen_where_only_the_crop_is_known(
    photographs: PhotographSet, name: str
) -> None:
    net = unpadded(14)
    said, unsaid = (
        Cropped(photographs, CROPS[name], preprocessing, (3, 14, 14)).scores(net)
        for preprocessing in (SHORTER, Preprocessing(crop=14))
    )
    torch.testing.assert_close(said, unsaid)


def test_no_scale_is_smaller_than_the_network() -> None:
    """Around 15 pixels: 13, which is 14, then 15 and 17."""
    views = shown(noise(3, 40, 40), "multi-crop", Preprocessing(shorter=15, crop=14))
    torch.testing.assert_close(views[0], views[24])
    torch.testing.assert_close(views[0], Preprocessing(shorter=14).geometry(noise(1, 3, 40, 40))[0])
    assert not torch.equal(views[25], views[49])


def test_a_photograph_that_cannot_be_read_is_named(photographs: PhotographSet) -> None:
    path = photographs.root / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConvbenchError, match=r"1\.png: expected a whole image, found one that cannot be decoded"):
        Cropped(photographs, CROPS["ten"], SHORTER, (3, 14, 14)).scores(Recorder())


def test_what_a_data_set_has_cut_away_is_told() -> None:
    """Of 64 pixels 48 are there: so are they of 58, 64 and 70. Nothing is enlarged as if they were all."""
    crops, sides = in_memory(noise(1, 3, 48, 48), shorter=64), list[int]()
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    cropped = Cropped(crops, CROPS["dense-multi-scale"], Preprocessing(shorter=64, crop=42), (3, 42, 42))
    assert cropped.caution == "noise holds the central 75% of each photograph's side: all views lie in it"
    net[0].register_forward_hook(lambda _, inputs, __: sides.append(inputs[0].shape[3]))
    cropped.scores(net)
    assert sides[-3:] == [44, 48, 52]
    Cropped(crops, CROPS["dense-multi-scale"], Preprocessing(crop=42), (3, 42, 42)).scores(net)
    assert sides[-3:] == [44, 48, 52], "64 is what the data set says of itself"
    assert not Cropped(crops, CROPS["centre"], Preprocessing(shorter=64, crop=42), (3, 42, 42)).caution


@pytest.mark.parametrize(
    ("crops", "preprocessing", "message"),
    [
        ("ten", Preprocessing(), "expected images larger than the 14 pixels that the network reads, found 14"),
        ("ten", Preprocessing(pad=2), "expected a preprocessing that resizes and cuts alone, found pad"),
        ("dense", Preprocessing(crop=12, size=14), "resizes and cuts alone, found size"),
        ("ten", Preprocessing(crop=12), "found crop 12 for a network of 14 pixels"),
    ],
)
def test_crops_that_do_not_fit_are_refused(crops: str, preprocessing: Preprocessing, message: str) -> None:
    with pytest.raises(RequestError, match=f"crops {crops}: .*{message}"):
        Cropped(in_memory(noise(1, 3, 14, 14)), CROPS[crops], preprocessing, (3, 14, 14))


def test_an_unknown_name() -> None:
    assert open_crops("ten") is CROPS["ten"]
    with pytest.raises(RequestError, match="unknown crops 'multicrop': nearest are multi-crop, multi-crop-jittered"):
        open_crops("multicrop")
