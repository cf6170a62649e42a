"""Ensembles and crops through the bench: members by hand, runs' folders, names for each of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from convbench.bench.evaluate import evaluate_weights, load_network, probe_weights
from convbench.data import open_dataset
from convbench.errors import RequestError
from convbench.evaluation.cropped import Cropped
from convbench.evaluation.crops import CROPS
from convbench.evaluation.ensemble import mean_probabilities
from convbench.models import build
from convbench.weights import save_weights

NAMES = ("lenet5_relu", "lenet5_relu", "mlp_300")
ABOUT = {
    "preprocessing": {"size": 32},
    "classes": list("0123456789"),
    "input_shape": [1, 32, 32],
}


def test_the_mean_by_hand() -> None:
    members = [torch.tensor([[0.6, 0.4], [0.1, 0.9]]), torch.tensor([[0.2, 0.8], [0.3, 0.7]])]
    torch.testing.assert_close(mean_probabilities(members), torch.tensor([[0.4, 0.6], [0.2, 0.8]]))
    with pytest.raises(RequestError, match=r"same images and classes, found \[\(2, 2\), \(2, 3\)\]"):
        mean_probabilities([members[0], torch.zeros(2, 3)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Untrained networks that answer with certainty, each its own way, in the folders of runs."""
    folders = []
    for seed, name in enumerate(NAMES):
        folder = tmp_path_factory.mktemp(f"run{seed}")
        torch.manual_seed(seed)
        net = build(name, num_classes=10, in_channels=1, image_size=32)
        with torch.no_grad():
            [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)][-1].weight.mul_(10)
        save_weights(net, folder / "weights.safetensors", {"network": name, **ABOUT})
        folders.append(folder)
    return folders


def probabilities(name: str, folder: Path) -> torch.Tensor:
    loaded = load_network(name, folder / "weights.safetensors")
    with torch.no_grad():
        scores = loaded.net.eval()(loaded.preprocessing(open_dataset("digits", "test").images))
    return scores.double().softmax(dim=1)


@pytest.mark.parametrize(("names", "count"), [("lenet5_relu", 2), ("lenet5_relu,lenet5_relu,mlp_300", 3)])
def test_an_ensemble_answers_by_the_mean_of_its_members(runs: list[Path], names: str, count: int) -> None:
    result = evaluate_weights(names, runs[:count], "digits", engine="eager", by_class=True)
    labels = open_dataset("digits", "test").labels
    alone = [probabilities(name, run) for name, run in zip(NAMES, runs, strict=True)][:count]
    expected = sum(alone).argmax(dim=1)
    assert result["confusion"] == tuple(map(tuple, confusion_matrix(labels, expected).tolist()))
    assert not torch.equal(alone[-1].argmax(dim=1), expected)
    errors = [100 * float((one.argmax(dim=1) != labels).double().mean()) for one in alone]
    assert [member["top1_error"] for member in result["members"]] == pytest.approx(errors)
    rights = torch.tensor([one["n"] * one["accuracy"] / 100 for one in result["classes"]["classes"]])
    assert round(float(rights.sum())) == len(labels) - result["errors"]


def test_one_network_is_no_ensemble(runs: list[Path]) -> None:
    file = runs[0] / "weights.safetensors"
    one, other = (evaluate_weights("lenet5_relu", weights, "digits", engine="eager") for weights in (file, [runs[0]]))
    assert one == other and one["members"] == [] and one["views"] == 1
    assert "classes" not in one


def test_names_and_weights_must_match(runs: list[Path]) -> None:
    with pytest.raises(RequestError, match="expected one network's name, or one for each of 3 weights, found 2"):
        evaluate_weights("lenet5_relu,mlp_300", runs, "digits")
    with pytest.raises(RequestError, match="holds mlp_300, found the name lenet5_relu"):
        evaluate_weights("lenet5_relu", runs, "digits")


def test_dense_crops_refuse_an_engine(runs: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    net = build("lenet5_relu", num_classes=10, in_channels=1, image_size=8 * 4)
    save_weights(
        net, folder / "weights.safetensors", {"network": "lenet5_relu", **ABOUT, "preprocessing": {"shorter": 36}}
    )
    with pytest.raises(
        RequestError, match="crops dense, whose sizes differ: expected engine eager, found openvino-fp32"
    ):
        evaluate_weights("lenet5_relu", folder, "digits", crops="dense", engine="openvino-fp32")
    result = evaluate_weights("lenet5_relu", folder, "digits", crops="dense")
    assert (result["crops"], result["views"], result["engine"]) == ("dense", 2, "eager")


def test_the_gallery_is_written(runs: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "new" / "classes.png"
    result = evaluate_weights("lenet5_relu", runs[0], "digits", engine="eager", gallery=file)
    assert Image.open(file).width > 500
    assert len(result["classes"]["easiest"]) == 5


def test_a_probe_of_a_run(runs: list[Path]) -> None:
    probed = probe_weights("lenet5_relu", runs[0], "digits", "f6")
    assert probed["top1_error"] < 15 and probed["data"] == "digits"
    assert probed["n"] == 596


@pytest.mark.realdata
def test_two_residual_networks_together_are_better(real_data: Path, real_weights: Path) -> None:
    """On a thousand images of CIFAR-10's test split, of which either gets about one in fourteen wrong."""
    images = open_dataset("cifar10", "test", data_dir=real_data).subset(torch.arange(1000))
    members = []
    for name, file in (("resnet20", "resnet20-12fca82f.th"), ("resnet56", "resnet56-4bfd9763.th")):
        loaded = load_network(name, real_weights / file)
        cropped = Cropped(images, CROPS["centre"], loaded.preprocessing, loaded.input_shape)
        members.append(cropped.probabilities(cropped.scores(loaded.net)))
    errors = [int((one.argmax(dim=1) != images.labels).sum()) for one in (*members, mean_probabilities(members))]
    assert errors[2] < min(errors[:2]) < 80
