"""Evaluation: scipy and scikit-learn as oracles, rejection by brute force."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, recall_score, top_k_accuracy_score
from torch import Tensor, nn

from convbench.data import Dataset, Preprocessing, open_dataset
from convbench.data.folder import PhotographSet
from convbench.errors import RequestError
from convbench.evaluation import evaluate, result_from_scores, score_images, wilson_interval
from convbench.evaluation.result import rejection_for
from convbench.models import build
from convbench.weights import save_weights

CLASSES = tuple("abcdefg")


def some_scores(n: int = 400, k: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=generator)
    scores = torch.randn(n, k, generator=generator)
    scores[torch.arange(n), labels] += 1.5
    return scores, labels


@pytest.mark.parametrize(("errors", "n"), [(0, 10), (1, 10), (10, 10), (95, 10_000), (82, 10_000), (1, 1), (300, 596)])
def test_interval_is_scipys(errors: int, n: int) -> None:
    expected = binomtest(errors, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(errors, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_error_confusion_and_classes_are_scikit_learns() -> None:
    scores, labels = some_scores()
    answers = scores.argmax(dim=1)
    result = result_from_scores(scores, labels, CLASSES)
    assert result.n == 400 and result.errors == int((answers != labels).sum())
    assert result.top1_error == pytest.approx(100 * result.errors / 400)
    assert result.interval == wilson_interval(result.errors, 400)
    np.testing.assert_array_equal(result.confusion, confusion_matrix(labels, answers))
    recalls = recall_score(labels, answers, average=None)
    assert [one.error for one in result.per_class] == pytest.approx(list(100 * (1 - recalls)))
    assert [(one.name, one.n) for one in result.per_class] == list(
        zip(CLASSES, labels.bincount().tolist(), strict=True)
    )
    assert sum(one.errors for one in result.per_class) == result.errors


def test_top5_is_scikit_learns() -> None:
    scores, labels = some_scores()
    expected = top_k_accuracy_score(labels, scores, k=5, labels=range(7))
    assert result_from_scores(scores, labels, CLASSES).top5_error == pytest.approx(100 * (1 - expected))


def test_top5_of_five_classes_says_nothing() -> None:
    scores, labels = some_scores(k=5)
    assert result_from_scores(scores, labels, CLASSES[:5]).top5_error is None


def test_a_class_without_images_has_no_error() -> None:
    scores, labels = some_scores()
    keep = labels != 3
    absent = result_from_scores(scores[keep], labels[keep], CLASSES).per_class[3]
    assert (absent.n, absent.errors, absent.error) == (0, 0, None)


def test_worst_images_first() -> None:
    scores = torch.tensor([[5.0, 1, 0], [2, 3, 0], [9, 0, 4], [0, 1, 0.5], [1, 0, 8]])
    labels = torch.tensor([0, 0, 1, 2, 0])
    result = result_from_scores(scores, labels, ("a", "b", "c"))
    found = [(one.index, one.label, one.predicted, one.margin) for one in result.worst]
    assert found == [(2, 1, 0, -9.0), (4, 0, 2, -7.0), (1, 0, 1, -1.0), (3, 2, 1, -0.5)]
    cut = result_from_scores(scores, labels, ("a", "b", "c"), worst=2)
    assert cut.worst == result.worst[:2] and cut.errors == 4


# Rejection


def rejection_by_brute_force(scores: Tensor, labels: Tensor, target: float) -> float | None:
    """Try every threshold on the certainty; an image as certain as the threshold is kept."""
    top = scores.double().sort(dim=1, descending=True).values
    certainty, right = (top[:, 0] - top[:, 1]).tolist(), (scores.argmax(dim=1) == labels).tolist()
    shares = []
    for threshold in set(certainty):
        kept = [hit for one, hit in zip(certainty, right, strict=True) if one >= threshold]
        if 100 * kept.count(False) / len(kept) <= target:
            shares.append(100 * (1 - len(kept) / len(labels)))
    return min(shares, default=None)


def test_rejection_by_hand() -> None:
    """Four images, certainties 4, 3, 2, 1, the third wrong: to be free of errors, the last two go."""
    scores = torch.tensor([[4.0, 0], [0, 3], [2, 0], [0, 1]])
    labels = torch.tensor([0, 1, 1, 1])
    assert rejection_for(scores, labels, 0.0).rejected == 50
    assert rejection_for(scores, labels, 25.0).rejected == 0
    assert rejection_for(scores, labels, 24.0).rejected == 50
    assert rejection_for(scores, labels).target_error == 0.5


def test_rejection_that_no_threshold_reaches() -> None:
    assert rejection_for(torch.tensor([[9.0, 0], [0, 1]]), torch.tensor([1, 1]), 0.5).rejected is None


def test_equally_certain_images_go_together() -> None:
    scores = torch.tensor([[2.0, 0], [1, 0], [1, 0], [1, 0]])
    labels = torch.tensor([0, 0, 0, 1])
    for order in (torch.arange(4), torch.arange(4).flip(0)):
        assert rejection_for(scores[order], labels[order], 0.0).rejected == 75


@pytest.mark.parametrize("target", [0.0, 0.5, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("rounded", [False, True])
def test_rejection_is_the_brute_force_one(target: float, rounded: bool) -> None:
    for seed in range(5):
        scores, labels = some_scores(120, seed=seed)
        if rounded:  # many ties
            scores = (2 * scores).round()
        found, expected = (
            rejection_for(scores, labels, target).rejected,
            rejection_by_brute_force(scores, labels, target),
        )
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found == pytest.approx(expected)


# The ends of the range


def test_all_right() -> None:
    labels = torch.arange(7).repeat(3)
    result = result_from_scores(torch.eye(7)[labels], labels, CLASSES)
    assert (result.top1_error, result.top5_error, result.errors, result.worst) == (0, 0, 0, ())
    assert result.interval[0] == 0 and result.rejection.rejected == 0


def test_all_wrong() -> None:
    labels = torch.arange(7).repeat(3)
    result = result_from_scores(-torch.eye(7)[labels], labels, CLASSES)
    assert (result.top1_error, result.top5_error, result.errors) == (100, 100, 21)
    assert result.interval[1] == 100 and result.rejection.rejected is None
    assert all(one.error == 100 for one in result.per_class)


def test_scores_that_are_not_numbers_are_refused() -> None:
    scores, labels = some_scores()
    scores[3, 2] = scores[8, 0] = scores[8, 1] = torch.nan
    with pytest.raises(RequestError, match="2 of 400 images have scores that are not numbers"):
        result_from_scores(scores, labels, CLASSES)


def test_infinite_scores_leave_a_result_that_json_can_hold() -> None:
    scores = torch.tensor([[torch.inf, -torch.inf], [torch.inf, -torch.inf]])
    result = result_from_scores(scores, torch.tensor([0, 1]), ("a", "b"))
    assert result.errors == 1 and result.worst[0].margin < -1e38
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["errors"] == 1


def test_other_numbers_of_classes_are_refused() -> None:
    scores, labels = some_scores()
    with pytest.raises(RequestError, match="the scores have 7 classes, the data set 3"):
        result_from_scores(scores, labels, ("a", "b", "c"))


# Of a network


class Looks(nn.Module):
    """Scores that say what the network was given."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.batches = nn.Dropout(0.5), list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return self.dropout(x.flatten(1)[:, :10].double())


def test_a_network_is_scored_in_evaluation_mode_and_given_back() -> None:
    net, dataset = Looks(), open_dataset("digits", "train")
    net.train()
    preprocessing = Preprocessing(low=-1.0, high=1.0)
    scores = score_images(net, dataset.images, preprocessing)
    assert net.training and net.dropout.training
    assert net.batches == [500, 500, 201], "bounded memory"
    assert scores.dtype == torch.float32 and not scores.requires_grad
    torch.testing.assert_close(scores, dataset.images.flatten(1)[:, :10] / 255 * 2 - 1)


def test_networks_and_rivals_are_evaluated_alike() -> None:
    dataset = open_dataset("digits", "test")

    class Rival:
        def scores(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10] / 255

    assert evaluate(Rival(), dataset) == evaluate(Looks(), dataset)


def test_a_network_for_other_images_is_one_line() -> None:
    dataset: Dataset = open_dataset("digits", "test")
    with pytest.raises(RequestError, match="the network cannot read digits's 1x8x8 images"):
        evaluate(nn.Conv2d(3, 10, 3), dataset)


def test_crops_of_resized_photographs_are_not_resized_again() -> None:
    digits = open_dataset("digits", "test")
    crops = replace(digits, shorter=32)  # as if cut from photographs of 32 pixels
    asked = Preprocessing(shorter=32, crop=8)
    assert evaluate(Looks(), crops, preprocessing=asked) == evaluate(Looks(), digits)
    assert evaluate(Looks(), digits, preprocessing=asked) != evaluate(Looks(), digits)


def test_crops_of_a_bare_network() -> None:
    """Dense on images of the network's own size: the image and its mirror image."""
    torch.manual_seed(0)
    digits = open_dataset("digits", "test")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        views = [net(images / 255).double().softmax(dim=1) for images in (digits.images, digits.images.flip(3))]
    expected = result_from_scores((views[0] + views[1]) / 2, digits.labels, digits.classes)
    found = evaluate(net, digits, crops="dense")
    assert (found.errors, found.confusion, found.interval) == (expected.errors, expected.confusion, expected.interval)
    assert found.errors != evaluate(net, digits).errors


def test_photographs_in_files_are_evaluated_as_those_in_memory(tmp_path: Path) -> None:
    digits = open_dataset("digits", "test").subset(torch.arange(60))
    for number, image in enumerate(digits.images):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{number:02d}.png")
    files = tuple(path.name for path in sorted(tmp_path.iterdir()))
    photographs = PhotographSet("digits", "test", tmp_path, files, digits.labels, digits.classes, "a test")
    coloured = replace(digits, images=digits.images.expand(-1, 3, -1, -1))
    torch.manual_seed(0)
    net, crop = nn.Sequential(nn.Flatten(), nn.Linear(3 * 49, 10)), Preprocessing(shorter=8, crop=7)
    for crops in ("centre", "ten"):
        found = [evaluate(net, data, preprocessing=crop, crops=crops).to_dict() for data in (photographs, coloured)]
        assert found[0]["confusion"] == found[1]["confusion"]
    with pytest.raises(RequestError, match=r"digits: expected preprocessing\.crop or size"):
        evaluate(net, photographs)


def test_other_classifiers_have_no_crops() -> None:
    class Rival:
        def scores(self, images: Tensor) -> Tensor:
            raise AssertionError

    with pytest.raises(RequestError, match="expected a network for crops ten of digits"):
        evaluate(Rival(), open_dataset("digits", "test"), crops="ten")


def convbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "convbench", *arguments], capture_output=True, text=True)


def test_the_command_shows_members_classes_and_confusions(tmp_path: Path) -> None:
    about = {"network": "lenet5_relu", "preprocessing": {"shorter": 32, "crop": 32}, "input_shape": [1, 32, 32]}
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        files += ["--weights", str(tmp_path / f"{seed}.safetensors")]
        save_weights(build("lenet5_relu"), Path(files[-1]), {**about, "classes": list("0123456789")})
    digits = ("lenet5_relu", *files, "--data", "digits")
    picture = tmp_path / "classes.png"
    said = convbench("evaluate", *digits, "--per-class", "--gallery", str(picture)).stdout
    for part in (
        "% error, 95 % interval",
        "ensemble, softmax averaged",
        "easiest classes",
        "hardest classes",
        "confused",
    ):
        assert part in said, part
    assert picture.read_bytes()[1:4] == b"PNG"
    probed = convbench(
        "evaluate", *digits[:3], "--data", "digits", "--linear-probe", "f6", "--probe", "logistic"
    ).stdout
    assert "logistic regression on the 84 features of lenet5_relu's f6" in probed
    for options, message in (
        (("--crops", "ten"), "crops ten: expected images larger than the 32 pixels"),
        (("--linear-probe", "f6"), "--linear-probe expects one --weights"),
    ):
        done = convbench("evaluate", *digits, *options)
        assert done.returncode == 2 and message in done.stderr
