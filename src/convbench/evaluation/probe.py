"""A linear classifier on the features of a layer: how much of another task a trained network has learnt.

Donahue et al., DeCAF, ICML 2014, section 3: the units of fc6 or fc7 as features, logistic regression or a linear SVM
behind them, whose strength of regularisation is found by cross-validation. Of a layer of maps, each map's mean over the
image is a feature (Simonyan & Zisserman, ICLR 2015, appendix B).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convbench.activations import features
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError, unknown
from convbench.evaluation.result import wilson_interval
from convbench.evaluation.scoring import device_of, score_batches
from convbench.evaluation.source import Source, prepared, preprocessing_for
from convbench.modes import evaluation_mode

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

KINDS = ("svm", "logistic")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of C, the inverse of regularisation; features have a deviation of 1
FOLDS = 3


@dataclass(frozen=True)
class Probe:
    """A linear classifier on `features` features of `layer`, trained on n_train images, judged on n. Errors: percent.

    interval: the 95 % Wilson interval of top1_error
    c: the C that cross-validation on the training images chose among `STRENGTHS`, with their errors, in that order
    """

    layer: str
    kind: str
    features: int
    n_train: int
    n: int
    top1_error: float
    interval: tuple[float, float]
    c: float
    errors_by_c: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def linear_probe(
    net: nn.Module,
    train: Source,
    test: Source,
    preprocessing: Preprocessing,
    layer: str,
    input_shape: tuple[int, int, int],
    kind: str = "svm",
) -> Probe:
    """Fit a linear classifier to the features of `layer` on all of `train`, and judge it on `test`.

    Args:
        preprocessing: of the network, for whole photographs
        input_shape: (channels, height, width) that the network reads
        kind: "svm", linear, each class against the rest, or "logistic", multinomial; both scikit-learn's, on features
            of mean 0 and deviation 1 on the training images

    Raises RequestError for an unknown layer or kind, and where the two sets' classes differ.
    """
    if kind not in KINDS:
        raise unknown("probe", kind, KINDS)
    if train.classes != test.classes:
        raise RequestError(f"linear probe: expected the classes of {train.name} in {test.name}, found others")
    x_train, x = (layer_features(net, source, preprocessing, layer, input_shape) for source in (train, test))
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    fewest = int(train.labels.unique(return_counts=True)[1].min())
    if fewest < 2:
        raise RequestError(f"linear probe: expected 2 or more images of each class of {train.name}, found {fewest}")
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=0)
    search = GridSearchCV(_pipeline(kind), {"classify__C": STRENGTHS}, cv=folds)
    search.fit(x_train.numpy(), train.labels.numpy())
    wrong = int((torch.from_numpy(search.predict(x.numpy())) != test.labels).sum())
    return Probe(
        layer=layer,
        kind=kind,
        features=x.shape[1],
        n_train=len(train),
        n=len(test),
        top1_error=100 * wrong / len(test),
        interval=wilson_interval(wrong, len(test)),
        c=float(search.best_params_["classify__C"]),
        errors_by_c=tuple(100 * (1 - float(right)) for right in search.cv_results_["mean_test_score"]),
    )


def layer_features(
    net: nn.Module, source: Source, preprocessing: Preprocessing, layer: str, input_shape: tuple[int, int, int]
) -> Tensor:
    """float32 (n, features): the output of `layer` for each image, of maps their means; `net` in evaluation mode."""

    def output(images: Tensor) -> Tensor:
        found = features(net, images.to(device_of(net)), layer)
        return found.mean(dim=(2, 3)) if found.ndim == 4 else found.flatten(1)

    left = preprocessing_for(source, preprocessing, input_shape[1])
    with evaluation_mode(net):
        batches = prepared(source, left, input_shape)
        return score_batches(output, batches, len(source), title=f"{layer} of {source.name}, {source.split}")


def _pipeline(kind: str) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    classify = LinearSVC(random_state=0) if kind == "svm" else LogisticRegression(max_iter=1000)
    return Pipeline([("scale", StandardScaler()), ("classify", classify)])
