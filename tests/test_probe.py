"""Linear classifiers on features: the same by hand with torch's hooks and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from convbench.bench.evaluate import load_network
from convbench.data import Dataset, Preprocessing, open_dataset
from convbench.errors import RequestError
from convbench.evaluation.probe import STRENGTHS, layer_features, linear_probe
from convbench.models import build

READ = Preprocessing(size=16, low=-0.1, high=1.175)


def network() -> nn.Module:
    torch.manual_seed(0)
    return build("lenet5_relu", num_classes=10, image_size=16)


def output_of(net: nn.Module, layer: str, images: Tensor) -> Tensor:
    """By a plain hook, on all images at once."""
    kept = list[Tensor]()
    hook = net.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.no_grad():
        net.eval()(images)
    hook.remove()
    return kept[0]


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    return open_dataset("digits", "train"), open_dataset("digits", "test")


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_it_is_what_scikit_learn_makes_of_the_features(digits: tuple[Dataset, Dataset], kind: str) -> None:
    train, test = digits
    net = network()
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.Linear))
    probe = linear_probe(net, train, test, READ, layer, (1, 16, 16), kind)

    x, x_test = (output_of(net, layer, READ(data.images)).numpy() for data in digits)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    classify = LinearSVC(C=probe.c, random_state=0) if kind == "svm" else LogisticRegression(C=probe.c, max_iter=1000)
    wrong = int((classify.fit(x, train.labels).predict(x_test) != test.labels.numpy()).sum())
    assert abs(probe.top1_error * len(test) / 100 - wrong) <= 2, "scaled in another precision"
    low, high = binomtest(round(probe.top1_error * len(test) / 100), len(test)).proportion_ci(method="wilson")
    assert probe.interval == pytest.approx((100 * low, 100 * high), abs=1e-6)
    assert (probe.features, probe.n_train, probe.n, probe.kind) == (x.shape[1], 1201, 596, kind)
    assert probe.c == STRENGTHS[int(np.argmin(probe.errors_by_c))]
    by_hand = 100 * (
        1 - cross_val_score(classify, x, train.labels, cv=StratifiedKFold(3, shuffle=True, random_state=5)).mean()
    )
    assert min(probe.errors_by_c) == pytest.approx(by_hand, abs=1.5), "other folds"


def test_the_test_images_choose_nothing(digits: tuple[Dataset, Dataset]) -> None:
    train, test = digits
    net = network()
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.Linear))
    one, other = (linear_probe(net, train, data, READ, layer, (1, 16, 16)) for data in (test, train))
    assert (one.c, one.errors_by_c) == (other.c, other.errors_by_c)
    assert other.top1_error < one.top1_error


def test_maps_count_with_their_means(digits: tuple[Dataset, Dataset]) -> None:
    net = network().train()
    images = READ(digits[1].images)
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    found = layer_features(net, digits[1], READ, layer, (1, 16, 16))
    assert net.training, "given back as it was"
    torch.testing.assert_close(found, output_of(net, layer, images).mean(dim=(2, 3)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [("fc77", "svm", "unknown layer 'fc77'"), ("conv1", "forest", "unknown probe 'forest': valid are logistic, svm")],
)
def test_a_wrong_request_is_one_line(digits: tuple[Dataset, Dataset], layer: str, kind: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        linear_probe(network(), *digits, READ, layer, (1, 16, 16), kind)


def test_other_classes_are_refused(digits: tuple[Dataset, Dataset]) -> None:
    train, test = digits
    other = Dataset("letters", "test", test.images, test.labels, tuple("abcdefghij"), "a test")
    with pytest.raises(RequestError, match="expected the classes of digits in letters, found others"):
        linear_probe(network(), train, other, READ, "conv1", (1, 16, 16))


@pytest.mark.realdata
def test_features_of_a_trained_network_generalise(real_data: Path, real_weights: Path) -> None:
    """resnet20 learnt CIFAR-10: the layer below its last one parts the classes as well; the first one does not."""
    loaded = load_network("resnet20", real_weights / "resnet20-12fca82f.th")
    train = open_dataset("cifar10", "train", data_dir=real_data).subset(torch.arange(800))
    test = open_dataset("cifar10", "test", data_dir=real_data).subset(torch.arange(500))
    last, first = (
        linear_probe(loaded.net, train, test, loaded.preprocessing, layer, loaded.input_shape)
        for layer in ("gap", "conv1")
    )
    x, x_test = (output_of(loaded.net, "gap", loaded.preprocessing(data.images)).numpy() for data in (train, test))
    scale = x.std(axis=0)
    classify = LinearSVC(C=last.c, random_state=0).fit(x / scale, train.labels)
    assert last.top1_error == pytest.approx(
        100 * np.mean(classify.predict(x_test / scale) != test.labels.numpy()), abs=1
    )
    assert last.features == 64 and last.top1_error < 14 < 40 < first.top1_error
