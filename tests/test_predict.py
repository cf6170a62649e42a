"""Predictions: torchvision's preprocessing and the network by hand, for any photograph; scores in batches."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from convbench import progress as progress_module
from convbench.bench.predict import Answer, Prediction, predict
from convbench.data import Preprocessing, open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.evaluation import score_images
from convbench.evaluation.scoring import MOST, PIXELS, batch_size
from convbench.evaluation.source import fit_size
from convbench.models import build
from convbench.report.predictions import print_predictions
from convbench.weights import save_weights

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
AS_IMAGENET = Preprocessing(shorter=48, crop=40, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "mobilenet.safetensors", AS_IMAGENET)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """100 x 70 pixels of smooth noise: not square, not the size that any network reads."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(1, 3, 7, 10, generator=generator)
    pixels = torch.nn.functional.interpolate(noise, (70, 100), mode="bilinear")[0] * 255
    Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8)).save(tmp_path / "photograph.png")
    return tmp_path / "photograph.png"


def network(channels: int = 3) -> nn.Module:
    """One whose normalisations have seen images, so that its answers differ."""
    torch.manual_seed(0)
    net = build("mobilenet_v1_025", num_classes=len(CLASSES), in_channels=channels, image_size=40)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of the one batch that follows
    with torch.no_grad():
        net.train()(torch.randn(16, channels, 40, 40))
    return net.eval()


def write_weights(path: Path, preprocessing: Preprocessing, *, channels: int = 3) -> Path:
    metadata = {
        "network": "mobilenet_v1_025",
        "classes": list(CLASSES),
        "input_shape": [channels, 40, 40],
        "preprocessing": asdict(preprocessing),
    }
    save_weights(network(channels), path, metadata)
    return path


def test_are_the_networks_softmax_on_torchvisions_preprocessing(weights: Path, photograph: Path) -> None:
    prepare = v2.Compose(
        [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Resize(48, antialias=True), v2.CenterCrop(40)]
    )
    with torch.no_grad():
        normalised = v2.functional.normalize(prepare(Image.open(photograph)), AS_IMAGENET.mean, AS_IMAGENET.std)
        expected = 100 * network()(normalised[None])[0].softmax(dim=0)
    assert expected.max() > 2 * expected.min()
    (found,) = predict([photograph], "mobilenet_v1_025", weights, top=7)
    assert found.file == str(photograph)
    assert [one.index for one in found.answers] == expected.argsort(descending=True).tolist()
    assert [one.name for one in found.answers] == [CLASSES[one.index] for one in found.answers]
    assert [one.probability for one in found.answers] == pytest.approx(
        expected.sort(descending=True).values.tolist(), rel=1e-3
    )


def test_top_five_unless_asked_otherwise(weights: Path, photograph: Path) -> None:
    (five,), (two,) = (predict([photograph], "mobilenet_v1_025", weights, **top) for top in ({}, {"top": 2}))
    assert len(five.answers) == 5 and two.answers == five.answers[:2]
    with pytest.raises(RequestError, match=r"at least 1 answer .* found 0"):
        predict([photograph], "mobilenet_v1_025", weights, top=0)


def test_answers_do_not_depend_on_the_file_that_holds_the_pixels(
    weights: Path, photograph: Path, tmp_path: Path
) -> None:
    image = Image.open(photograph)
    image.save(tmp_path / "same.bmp")
    image.convert("RGBA").save(tmp_path / "opaque.png")
    turned = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise to see it upright"
    turned.save(tmp_path / "turned.png", exif=exif)
    files = [photograph, *(tmp_path / name for name in ("same.bmp", "opaque.png", "turned.png"))]
    answers = [one.answers for one in predict([*files, image], "mobilenet_v1_025", weights)]
    assert all(one == answers[0] for one in answers)


def test_grey_photographs_and_grey_networks(tmp_path: Path, photograph: Path) -> None:
    grey = Image.open(photograph).convert("L")
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "three.png")
    for channels, preprocessing in ((3, AS_IMAGENET), (1, Preprocessing(shorter=48, crop=40))):
        weights = write_weights(tmp_path / f"{channels}.safetensors", preprocessing, channels=channels)
        one, three = predict([tmp_path / "grey.png", tmp_path / "three.png"], "mobilenet_v1_025", weights)
        assert [answer.name for answer in one.answers] == [answer.name for answer in three.answers]


def test_a_network_for_small_images_gets_the_centre(photograph: Path, tmp_path: Path) -> None:
    small = write_weights(tmp_path / "small.safetensors", Preprocessing(mean=AS_IMAGENET.mean, std=AS_IMAGENET.std))
    by_hand = Preprocessing(shorter=40, crop=40, mean=AS_IMAGENET.mean, std=AS_IMAGENET.std)
    told = write_weights(tmp_path / "told.safetensors", by_hand)
    assert predict([photograph], "mobilenet_v1_025", small) == predict([photograph], "mobilenet_v1_025", told)
    assert fit_size(Preprocessing(pad=4), 32) == Preprocessing(pad=4, shorter=24, crop=24)
    assert fit_size(AS_IMAGENET, 32) == AS_IMAGENET
    # of what a window was cut is not said: not its pixels alone, which of a large photograph are hardly any
    assert fit_size(Preprocessing(crop=112), 112) == Preprocessing(crop=112, shorter=128)


def test_what_is_no_image_is_one_line(weights: Path, photograph: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "cut.png").write_bytes(photograph.read_bytes()[:900])
    for path, error, message in (
        (tmp_path / "gone.png", RequestError, "expected an image file, found nothing"),
        (tmp_path, RequestError, "expected an image file, found a folder"),
        (tmp_path / "notes.txt", RequestError, "found no format that is known"),
        (tmp_path / "cut.png", ConvbenchError, "cannot be decoded"),
    ):
        with pytest.raises(ConvbenchError, match=message) as caught:
            predict([photograph, path], "mobilenet_v1_025", weights)
        assert type(caught.value) is error and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_that_unpacks_to_too_much_is_refused(
    weights: Path, photograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100 * 70 - 1)
    with pytest.raises(RequestError, match="expected at most 6,999 pixels"):
        predict([photograph], "mobilenet_v1_025", weights)


def test_weights_that_give_no_numbers_are_told(weights: Path, photograph: Path, tmp_path: Path) -> None:
    net = network()
    torch.nn.init.constant_(net.fc.bias, float("nan"))
    metadata = {"network": "mobilenet_v1_025", "classes": list(CLASSES), "input_shape": [3, 40, 40]}
    save_weights(net, tmp_path / "nan.safetensors", {**metadata, "preprocessing": asdict(AS_IMAGENET)})
    with pytest.raises(ConvbenchError, match=r"expected numbers .* found NaN"):
        predict([photograph], "mobilenet_v1_025", tmp_path / "nan.safetensors")


def test_on_the_command_line(weights: Path, photograph: Path) -> None:
    line = [sys.executable, "-m", "convbench", "predict", str(photograph), "--network", "mobilenet_v1_025"]
    line += ["--weights", str(weights), "--top", "3"]
    (expected,) = predict([photograph], "mobilenet_v1_025", weights, top=3)
    shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[0] == str(photograph)
    rows = [row.split() for row in shown.splitlines()[1:4]]
    assert [row[:2] for row in rows] == [[str(rank), one.name] for rank, one in enumerate(expected.answers, start=1)]
    assert [float(row[2]) for row in rows] == [round(one.probability, 1) for one in expected.answers]
    told = subprocess.run([*line, "--json"], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == json.loads(json.dumps([expected.to_dict()]))


@pytest.mark.realdata
def test_real_photographs(real_data: Path, real_weights: Path) -> None:
    """Two validation photographs whose class the published network finds."""
    photographs = [real_data / "imagenet-val" / f"ILSVRC2012_val{number}.jpeg" for number in (1, 10)]
    weights = real_weights / "resnet50_imagenet_pruned_int8_bnfolded.npz"
    snake, dog = predict(photographs, "resnet50", weights)
    assert (snake.answers[0].name, dog.answers[0].name) == ("sea snake", "Maltese dog")
    assert len(dog.answers) == 5 and 50 < dog.answers[0].probability < 100


def test_an_open_image_has_its_files_name_or_a_number(weights: Path, photograph: Path) -> None:
    with Image.open(photograph) as image:
        named, numbered = predict([image, image.copy()], "mobilenet_v1_025", weights)
    assert (named.file, numbered.file) == (str(photograph), "image 2")


def test_an_image_that_cannot_be_prepared_is_named(weights: Path, tmp_path: Path) -> None:
    Image.new("L", (3000, 1)).save(tmp_path / "line.png")
    with pytest.raises(RequestError, match=r"line\.png: expected sides .* found 1x3000"):
        predict([tmp_path / "line.png"], "mobilenet_v1_025", weights)


# Printed

PREDICTIONS = [
    Prediction("cat.jpg", (Answer(281, "tabby", 62.54), Answer(285, "Egyptian cat", 37.4), Answer(7, "[b]cock", 0.06))),
    Prediction("[red]dog.jpg", (Answer(207, "golden retriever", 100.0),)),
]


def test_a_printed_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    print_predictions(PREDICTIONS)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "cat.jpg",
        "1  tabby         62.5 %  ████████████▌",
        "2  Egyptian cat  37.4 %  ███████▌",
        "3  [b]cock        0.1 %",
        "",
        "[red]dog.jpg",
        "1  golden retriever  100.0 %  ████████████████████",
    ]


def test_a_prediction_as_json() -> None:
    assert json.loads(json.dumps(PREDICTIONS[1].to_dict())) == {
        "file": "[red]dog.jpg",
        "answers": [{"index": 207, "name": "golden retriever", "probability": 100.0}],
    }


# Batches


class Brightness(nn.Module):
    """Two scores from an image's mean; notes how many images come at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        self.batches.append(len(x))
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack((mean, -mean), dim=1)


@pytest.mark.parametrize(
    ("shape", "preprocessing", "expected"),
    [
        ((3, 224, 224), Preprocessing(), 32),
        ((3, 227, 227), Preprocessing(shorter=303, crop=299), PIXELS // 299**2),
        ((3, 640, 640), Preprocessing(size=224), PIXELS // 640**2),
        ((3, 2000, 2000), Preprocessing(), 1),
        ((3, 32, 32), Preprocessing(pad=4), MOST),
        ((1, 28, 28), Preprocessing(pad=2), MOST),
    ],
)
def test_batches_are_smaller_for_larger_images(
    shape: tuple[int, ...], preprocessing: Preprocessing, expected: int
) -> None:
    assert batch_size(torch.zeros(1, *shape, dtype=torch.uint8), preprocessing) == expected


def test_scores_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_dataset("digits", "test").images[:50]
    net, scored = build("lenet5"), []
    for most in (1, 7, 50, 500):
        monkeypatch.setattr("convbench.evaluation.scoring.MOST", most)
        scored.append(score_images(net, images, Preprocessing(size=32)))
        counting = Brightness()
        score_images(counting, images, Preprocessing())
        assert sum(counting.batches) == 50 and max(counting.batches) == min(most, 50)
        assert counting.training
    for other in scored[1:]:
        torch.testing.assert_close(other, scored[0], atol=1e-4, rtol=1e-5)


def test_progress_is_shown_under_a_title_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    images = torch.zeros(600, 1, 8, 8, dtype=torch.uint8)
    score_images(Brightness(), images, Preprocessing())
    assert capsys.readouterr().err == ""
    score_images(Brightness(), images, Preprocessing(), title="brightness")
    assert "brightness: 600/600 images" in capsys.readouterr().err
