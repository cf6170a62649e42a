"""Class by class: scikit-learn and scipy as oracles, pairs counted by hand, the gallery's pixels."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, recall_score
from torch import Tensor

from convbench.data import Dataset, open_dataset
from convbench.evaluation.gallery import CAPTION, COLUMNS, FRAME, GAP, TILE, gallery, shown
from convbench.evaluation.per_class import EXTREMES, PAIRS, confused_pairs, per_class

CLASSES = tuple("abcdefgh")


def some_scores(n: int = 600, k: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=generator)
    scores = torch.randn(n, k, generator=generator)
    scores[torch.arange(n), labels] += 0.5 * labels  # later classes are easier
    return scores, labels


def test_accuracies_are_recalls_with_scipys_interval() -> None:
    scores, labels = some_scores()
    found = per_class(scores, labels, CLASSES).classes
    assert [one.accuracy for one in found] == pytest.approx(
        list(100 * recall_score(labels, scores.argmax(dim=1), average=None))
    )
    for one in found:
        expected = binomtest(round(one.accuracy * one.n / 100), one.n).proportion_ci(method="wilson")
        assert one.interval == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)
    best_five = np.argsort(-scores.numpy(), axis=1)[:, :5]
    hits = (best_five == labels.numpy()[:, None]).any(axis=1)
    assert [one.top5_accuracy for one in found] == pytest.approx(
        [100 * hits[labels.numpy() == label].mean() for label in range(8)]
    )


def test_the_extremes() -> None:
    """Accuracies 100 of 1, 100 of 4, 50, 0 of 1, 0 of 4; f has no image: more images make the surer extreme."""
    labels = torch.tensor([0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4, 4])
    answers = torch.tensor([0, 1, 1, 1, 1, 2, 0, 0, 0, 0, 0, 1])
    found = per_class(torch.eye(6)[answers], labels, tuple("abcdef"))
    assert [one.name for one in found.classes] == list("abcde")
    assert [one.name for one in found.easiest] == ["b", "a"]
    assert [one.name for one in found.hardest] == ["e", "d"], "half of the classes at most: none is both"
    assert per_class(*some_scores(), CLASSES).easiest[0].name == "h"
    scores, labels = some_scores(4000, 40)
    many = per_class(scores, labels, tuple(map(str, range(40))))
    assert (len(many.easiest), len(many.hardest), len(many.confused)) == (EXTREMES, EXTREMES, PAIRS)
    assert many.easiest[-1].accuracy > many.hardest[-1].accuracy


def test_top5_of_five_classes_says_nothing() -> None:
    scores, labels = some_scores(k=5)
    assert {one.top5_accuracy for one in per_class(scores, labels, CLASSES[:5]).classes} == {None}


def test_pairs_are_the_table_of_confusions_folded() -> None:
    scores, labels = some_scores()
    answers = scores.argmax(dim=1)
    table = confusion_matrix(labels, answers)
    expected = Counter({(CLASSES[i], CLASSES[j]): table[i, j] + table[j, i] for i in range(8) for j in range(i)})
    found = confused_pairs(labels, answers, CLASSES)
    assert [pair.total for pair in found] == [total for _, total in expected.most_common(PAIRS)]
    for pair in found:
        i, j = CLASSES.index(pair.first), CLASSES.index(pair.second)
        assert (pair.first_as_second, pair.second_as_first) == (table[i, j], table[j, i])
        assert pair.first_as_second >= pair.second_as_first


def test_pairs_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    answers = torch.tensor([1, 1, 0, 1, 2, 1, 0])
    found = [
        (one.first, one.second, one.first_as_second, one.second_as_first)
        for one in confused_pairs(labels, answers, CLASSES)
    ]
    assert found == [("a", "b", 2, 1), ("c", "b", 2, 0)], "d was taken for a once, which makes no pair"
    assert confused_pairs(labels, labels, CLASSES) == ()


# The picture


def test_half_of_the_images_are_wrong_ones_where_there_are_any() -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    answers = labels.clone()
    assert shown(labels, answers, 0) == list(range(COLUMNS))
    answers[10:] = 1
    assert shown(labels, answers, 0) == [0, 1, 2, 3, 10, 11, 12, 13]
    answers[2:] = 1
    assert shown(labels, answers, 0) == [0, 1, 2, 3, 4, 5, 6, 7], "two right ones leave room for six"
    assert shown(labels, answers, 1) == []


def test_the_gallery_shows_a_row_a_class_and_frames_mistakes() -> None:
    colours = torch.tensor([[0, 0, 200], [0, 200, 0]], dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 1, 1])
    images = colours[labels][:, :, None, None].expand(5, 3, 10, 14)
    data = Dataset("two", "test", images, labels, ("blue thing", "green thing"), "a test")
    answers = torch.tensor([0, 0, 0, 0, 1])
    classes = per_class(torch.eye(2)[answers], labels, data.classes)
    assert [one.name for one in (*classes.easiest, *classes.hardest)] == ["blue thing", "green thing"]
    sheet = Image.open(io.BytesIO(gallery(data, answers, classes)))
    pixels = np.asarray(sheet).astype(int)

    def rows_of(colour: tuple[int, int, int], column: int) -> np.ndarray:
        centre = CAPTION + column * (TILE + GAP) + TILE // 2
        return np.flatnonzero((abs(pixels[:, centre] - colour) < 3).all(axis=1))

    inside = TILE - 2 * FRAME
    assert [len(rows_of((0, 0, 200), column)) for column in range(4)] == [inside, inside, inside, 0]
    assert [len(rows_of((0, 200, 0), column)) for column in range(3)] == [inside, inside, 0]
    red = (192, 57, 43)
    assert [len(rows_of(red, column)) for column in range(3)] == [2 * FRAME, 0, 0]
    assert rows_of((0, 0, 200), 0).max() < rows_of((0, 200, 0), 0).min(), "the easiest first"


def test_grey_images_have_a_gallery_too() -> None:
    digits = open_dataset("digits", "test")
    answers = digits.labels.roll(1)
    picture = gallery(digits, answers, per_class(torch.eye(10)[answers], digits.labels, digits.classes))
    assert Image.open(io.BytesIO(picture)).size[0] == CAPTION + COLUMNS * (TILE + GAP) + GAP
