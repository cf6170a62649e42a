"""SSD's views of images with boxes: whatever is seen, the boxes are where the objects are."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_iou
from torchvision.transforms.v2 import functional

from boxed import COLOURS, write_rectangles
from convbench.data import Preprocessing, box_views
from convbench.data.box_views import FILL, BoxView, Colours, shares_of
from convbench.data.decoding import decode_part, decode_window
from convbench.data.views import Window
from convbench.detection.datasets import open_detection_set
from convbench.detection.detecting import read_batches
from convbench.detection.task import Boxed
from convbench.errors import ConvbenchError

SIZE = 200


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rectangles(tmp_path_factory.mktemp("data"), 6)


def extent(image: Tensor, colour: tuple[int, int, int]) -> Tensor:
    """Corners, in shares, of what has a colour, by more than half."""
    near = (image.float() - torch.tensor(colour)[:, None, None]).abs().amax(0) < 60
    rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / image.shape[1]


def test_boxes_are_where_the_objects_are(rectangles: Path) -> None:
    """Expanded, cut, mirrored: each target's corners are those of its colour in what is seen, to two pixels or so."""
    dataset = open_detection_set(rectangles, "train")
    shown = Boxed(dataset, BoxView(size=SIZE, colours=False), 0)
    seen, mirrored = 0, False
    for epoch in range(40):
        image, targets = shown.look(epoch, epoch % len(dataset))
        assert image.shape == (3, SIZE, SIZE) and len(targets) >= 1
        for label, *corners in targets.tolist():
            found = extent(image, list(COLOURS.values())[int(label)])
            assert (found - torch.tensor(corners)).abs().max() < 3.5 / SIZE, f"epoch {epoch}"
            seen += 1
        if len(targets) == 2:
            mirrored |= bool(targets[0, 1] > targets[1, 1])  # red stands on the left in the photograph
    assert seen > 55 and mirrored


@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_are_torchvisions(mirrored: bool) -> None:
    boxes = torch.tensor([[10.0, 20, 60, 70], [40, 5, 90, 50]])
    window = Window(-15, 12, 80, 70, mirrored)
    theirs = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(100, 100))  # type: ignore[call-arg]
    theirs = functional.pad(theirs, [0, 15, 0, 0])
    theirs = functional.resize(functional.crop(theirs, 0, 12, 80, 70), [SIZE, SIZE])
    theirs = functional.clamp_bounding_boxes(theirs)
    if mirrored:
        theirs = functional.horizontal_flip(theirs)
    torch.testing.assert_close(shares_of(boxes, window) * SIZE, torch.Tensor(theirs))


def test_patches_keep_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule that any patch will do, and the whole image: overlap, sides and shape are as asked for."""
    monkeypatch.setattr(box_views, "ANY", 0.5)
    view, boxes = (
        BoxView(size=SIZE, expand=1, overlaps=(0.5, 0.7)),
        torch.tensor([[50.0, 60, 250, 300], [10, 10, 30, 30]]),
    )
    wholes = 0
    for seed in range(120):
        seen = view.window(400, 500, boxes, generator(seed))
        window = seen.window
        if (window.height, window.width) == (400, 500):
            wholes += 1
            continue
        corners = torch.tensor([[window.left, window.top, window.left + window.width, window.top + window.height]])
        assert box_iou(corners.float(), boxes).max() >= 0.5
        assert 0.45 <= (window.width / 500) / (window.height / 400) <= 2.1
        assert window.top >= 0 and window.left >= 0
        assert window.top + window.height <= 400 and window.left + window.width <= 500
    assert 15 < wholes < 50  # a fourth of all


def test_half_are_expanded_and_no_more_than_asked_for() -> None:
    view, boxes = BoxView(size=SIZE, expand=3, overlaps=(), mirror=False), torch.tensor([[5.0, 5, 20, 20]])
    windows = [view.window(40, 60, boxes, generator(seed)).window for seed in range(200)]
    wider = [one for one in windows if (one.height, one.width) != (40, 60)]
    assert 70 < len(wider) < 130
    assert all(40 <= one.height <= 120 and 60 <= one.width <= 180 for one in wider)
    assert all(
        one.top <= 0 <= one.top + one.height - 40 and one.left <= 0 <= one.left + one.width - 60 for one in wider
    )


def jpeg(height: int, width: int) -> bytes:
    gradient = torch.stack([torch.arange(width).expand(height, -1) * 255 // width] * 3, -1).to(torch.uint8)
    file = io.BytesIO()
    Image.fromarray(gradient.numpy()).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def test_a_part_inside_is_the_window() -> None:
    content = jpeg(300, 400)
    for window in (Window(20, 30, 200, 300, False), Window(0, 0, 300, 400, True)):
        theirs = decode_window(content, lambda *_, window=window: window, 64)
        ours = decode_part(content, lambda *_, window=window: window, 64, FILL)
        assert torch.equal(ours, theirs)


def test_what_lies_outside_has_the_mean_colour_and_keeps_it() -> None:
    seen = decode_part(jpeg(100, 100), lambda *_: Window(-100, 0, 200, 100, False), 50, FILL, lambda part: 255 - part)
    assert torch.equal(seen[:, :25], torch.tensor(FILL, dtype=torch.uint8)[:, None, None].expand(3, 25, 50))
    whole = decode_part(jpeg(100, 100), lambda *_: Window(-100, 0, 200, 100, False), 50, FILL)
    assert torch.equal(seen[:, 25:], 255 - whole[:, 25:])


def test_colours_change_as_torchvision_changes_them() -> None:
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8, generator=generator(0))
    assert torch.equal(Colours(None, None, None, None, True)(image), image)
    hue = Colours(None, None, None, 0.04, True)(image)
    assert (hue.int() - functional.adjust_hue(image, 0.04).int()).abs().max() <= 2
    brighter = Colours(0.1, None, None, None, True)(image)
    assert (brighter.int() - (image.int() + 25.5).clamp(max=255)).abs().max() <= 1
    both = Colours(0.1, 1.5, None, None, True)(image)
    assert (both.float() - ((image.float() + 25.5).clamp(max=255) * 1.5).clamp(max=255)).abs().max() <= 1


def test_colours_are_drawn_from_the_releases_ranges() -> None:
    """Half of all images each; 32 of 255 levels, a half more or less, and 36 degrees of hue to either side."""
    random = generator(0)
    drawn = [Colours.drawn(random) for _ in range(2000)]
    ranges = {"brightness": (-32 / 255, 32 / 255), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-0.1, 0.1)}
    for name, (low, high) in ranges.items():
        values = [value for one in drawn if (value := getattr(one, name)) is not None]
        assert 900 < len(values) < 1100, name
        assert low <= min(values) < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < max(values) <= high, name
    assert 900 < sum(one.contrast_first for one in drawn) < 1100


def test_boxes_that_were_drawn_on_another_size_are_told(rectangles: Path) -> None:
    dataset = open_detection_set(rectangles, "train")
    boxes, _ = dataset.objects[0].to_learn
    with pytest.raises(ConvbenchError, match="expected 91x120 pixels, as annotated, found 90x120"):
        BoxView(size=SIZE).see(dataset.open(0), 91, 120, boxes, generator(0))


def test_photographs_that_were_resized_are_not_evaluated(rectangles: Path) -> None:
    """Boxes of another size would be counted as wrong, without a word."""
    dataset = open_detection_set(rectangles, "train")
    images, sizes = next(read_batches(dataset, Preprocessing(size=32), 2))
    assert (images.shape[0], sizes) == (2, [(90, 120)] * 2)
    sizes_then = dataset.sizes.clone()
    sizes_then[1] = torch.tensor([90, 121])
    with pytest.raises(ConvbenchError, match=r"1\.png: expected 90x121 pixels, as annotated, found 90x120"):
        list(read_batches(replace(dataset, sizes=sizes_then), Preprocessing(size=32), 2))
