"""Boosting by filtering: what each network is trained on, and that the scores are added."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convbench.bench.execute import build_for
from convbench.data import Dataset, Distortion, Preprocessing, open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.training import boosting
from convbench.training.recipe import Recipe, open_recipe

SMALL = {"data": "digits", "epochs": 3, "batch_size": 16, "preprocessing.size": 28, "preprocessing.pad": 2}


class Says(nn.Module):
    """A network whose answers are given: image i of value i gets answer `answers[i]`."""

    def __init__(self, *answers: int) -> None:
        super().__init__()
        self.answers = torch.tensor(answers)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(self.answers[x[:, 0, 0, 0].long()], 10).float()


RAW = Preprocessing(high=255.0)
IMAGES = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
LABELS = torch.tensor([0, 1, 2, 3, 4, 5])


def recipe(**settings: object) -> Recipe:
    return open_recipe("lenet5-relu", {**SMALL, **settings})


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    chosen = recipe()
    object.__setattr__(chosen, "preprocessing", RAW)
    return chosen


def test_half_of_the_second_networks_images_are_wrong(raw: Recipe) -> None:
    chosen = boosting.half_wrong(Says(0, 1, 9, 3, 9, 5), raw, IMAGES, LABELS)
    assert chosen.tolist() == [0, 1, 2, 4]  # 2 and 4 are wrong, 0 and 1 the first two right ones


def test_the_third_networks_images_are_those_in_dispute(raw: Recipe) -> None:
    chosen = boosting.disagreement(Says(0, 1, 9, 3, 9, 5), Says(0, 2, 9, 3, 4, 5), raw, IMAGES)
    assert chosen.tolist() == [1, 4]


def test_scores_are_added() -> None:
    nets: list[nn.Module] = [Says(0, 1, 2, 3, 4, 5), Says(0, 2, 2, 3, 4, 5), Says(0, 2, 2, 3, 4, 6)]
    scores = boosting.Ensemble(nets, RAW).scores(IMAGES)
    assert scores.argmax(dim=1).tolist() == [0, 2, 2, 3, 4, 5]
    assert scores.sum(dim=1).tolist() == [3.0] * 6


def boost(data: Dataset, chosen: Recipe, folder: Path) -> list[nn.Module]:
    nets = [build_for(chosen, data, seed) for seed in range(3)]
    boosting.fit_boosted(nets, data, chosen, seed=0, test=None, folder=folder, resume=True)
    return nets


def test_three_different_networks_and_the_same_after_a_stop(tmp_path: Path) -> None:
    data = open_dataset("digits", "train").subset(torch.arange(300))
    chosen = recipe(distortion={"translate": 3.0, "shear": 0.5})
    assert chosen.distortion == Distortion(translate=3.0, shear=0.5)
    first = boost(data, chosen, tmp_path / "run")
    (tmp_path / "run/net3/state.pt").unlink()  # as if stopped while the third was trained
    again = boost(data, chosen, tmp_path / "run")
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    answers = boosting.Ensemble(first[:1], chosen.preprocessing).scores(data.images).argmax(dim=1)
    others = boosting.Ensemble(first[1:2], chosen.preprocessing).scores(data.images).argmax(dim=1)
    assert not torch.equal(answers, others)


def test_boosting_without_distortion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"boosting needs a recipe with a \[distortion\]"):
        boost(open_dataset("digits", "train").subset(torch.arange(50)), recipe(), tmp_path)


def test_a_filter_that_passes_too_little_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "MOST_PASSES", 2)
    data = open_dataset("digits", "train").subset(torch.arange(50))
    with pytest.raises(ConvbenchError, match="boosting: 0 images for network 2 in 2 passes"):
        boosting.filtered(data, recipe(distortion={}), lambda images, labels: torch.zeros(0, dtype=torch.int64), 0, 2)
