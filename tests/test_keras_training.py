"""One step of training in Keras and here, from the same weights, leads to the same weights: in double precision.

Keras updates running variances with the biased estimate and another momentum, so what is compared are the parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.layers import WithAuxiliary
from convbench.models import build
from convbench.weights import load_weights

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' way to NumPy
CLASSES, LR = 5, 0.01


@pytest.fixture(autouse=True)
def double_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras' batch normalisation falls back to single precision (float64 and float32 make float32 to it): not here."""
    keras.utils.clear_session()
    keras.config.set_floatx("float64")
    monkeypatch.setattr(keras.src.backend, "result_type", lambda *_: "float64")
    yield
    keras.config.set_floatx("float32")
    keras.utils.clear_session()


def save_randomised(model: Any, path: Path) -> None:
    """Weights that keep activations near 1 and tell channels apart; written by Keras' own paths."""
    generator = np.random.default_rng(0)
    for variable in model.weights:
        shape, name = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
        if name == "moving_variance":
            value = generator.uniform(0.5, 1.5, shape)
        elif name == "gamma":
            value = generator.uniform(0.8, 1.2, shape)
        elif len(shape) == 1:
            value = generator.normal(0, 0.1, shape)
        else:
            inputs = np.prod(shape[:2]) if name == "depthwise_kernel" else np.prod(shape[:-1])
            value = generator.normal(0, np.sqrt(2 / inputs), shape)
        variable.assign(value)
    save(model, path)


def save(model: Any, path: Path) -> None:
    np.savez(path, **{variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights})


def step_of_keras(model: Any, images: Tensor, labels: Tensor) -> None:
    logits = model(images.permute(0, 2, 3, 1), training=True)
    F.cross_entropy(logits, labels).backward()
    for variable in model.trainable_variables:
        variable.assign(variable.value.detach() - LR * variable.value.grad)


def step_of_ours(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    output = net.train()(images)
    logits = output.logits if isinstance(output, WithAuxiliary) else output
    F.cross_entropy(logits, labels).backward()
    torch.optim.SGD(net.parameters(), LR).step()


@pytest.mark.parametrize(
    ("name", "theirs", "side", "arguments"),
    [
        ("mobilenet_v1_025", "MobileNet", 64, {"alpha": 0.25, "dropout": 0}),
        ("xception", "Xception", 71, {}),
        ("inception_v3", "InceptionV3", 107, {}),
        ("inception_resnet_v2", "InceptionResNetV2", 75, {}),
        ("vgg16", "VGG16", 32, {}),
    ],
)
def test_one_step_leads_to_the_same_weights(
    name: str, theirs: str, side: int, arguments: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, side, side, dtype=torch.float64), torch.tensor([0, 3, 1, 4])
    model = getattr(keras.applications, theirs)(
        weights=None, classes=CLASSES, input_shape=(side, side, 3), classifier_activation=None, **arguments
    )
    save_randomised(model, tmp_path / "before.npz")
    ours, expected = (build(name, num_classes=CLASSES, image_size=side).double() for _ in range(2))
    load_weights(ours, tmp_path / "before.npz")
    before = {key: p.detach().clone() for key, p in ours.named_parameters()}
    step_of_ours(ours, images, labels)
    step_of_keras(model, images, labels)
    save(model, tmp_path / "after.npz")
    load_weights(expected, tmp_path / "after.npz")

    gammas = {variable.path for variable in model.weights if variable.path.endswith("/gamma")}
    normalised = {f"{path}.weight" for path, module in ours.named_modules() if isinstance(module, nn.BatchNorm2d)}
    compared = 0
    for key, parameter in expected.named_parameters():
        if key.startswith("aux.") or (not gammas and key in normalised):
            continue  # what Keras does not have
        moved, wanted = ours.get_parameter(key) - before[key], parameter - before[key]
        # A bias whose sum is then normalised has no gradient but rounding: hence the second term.
        assert (moved - wanted).abs().max() <= 1e-4 * wanted.abs().max() + 1e-14, key
        compared += 1
    assert compared == len(model.trainable_variables)
