"""The classical rivals of LeNet-5: every method of LeCun et al. 1998, figure 9, that is not a network.

>>> rival = build_rival("knn", k=5)
>>> build_rival("knn", neighbours=5)
Traceback (most recent call last):
convbench.errors.RequestError: unknown argument of knn 'neighbours': valid is k
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from convbench.data.preprocessing import Preprocessing
from convbench.errors import unknown
from convbench.rivals.linear import Linear, PairwiseLinear
from convbench.rivals.local import LocalLearning
from convbench.rivals.method import Method
from convbench.rivals.neighbours import NearestNeighbours
from convbench.rivals.quadratic import PcaQuadratic
from convbench.rivals.rbf import RadialBasis
from convbench.rivals.rival import Rival
from convbench.rivals.svm import PolynomialSvm
from convbench.rivals.tangent import TangentDistance

__all__ = ["RIVALS", "Method", "Rival", "RivalSpec", "build_rival"]

AS_IT_IS = Preprocessing()
DESLANTED_20 = Preprocessing(deslant=True, crop=20)
SMALL_16 = Preprocessing(crop=20, size=16)


@dataclass(frozen=True)
class RivalSpec:
    """A row of the table of rivals.

    title: as figure 9 of the paper names it
    summary: what it is, in a line
    method: a dataclass that fulfils `Method`
    arguments: of the method, where they differ from its defaults
    preprocessing: for 28x28 images such as MNIST's
    """

    title: str
    summary: str
    method: type[Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = AS_IT_IS

    @property
    def parameters(self) -> tuple[str, ...]:
        """The arguments that `build_rival` takes besides the seed."""
        return tuple(f.name for f in fields(self.method) if f.name != "seed")

    @property
    def seeded(self) -> bool:
        """Whether chance has a part in `fit`, so that the seed matters."""
        return any(f.name == "seed" for f in fields(self.method))


RIVALS: dict[str, RivalSpec] = {
    "linear": RivalSpec("Linear", "one squashed unit a class on the pixels", Linear),
    "linear_deslant": RivalSpec(
        "[deslant] Linear", "the same on deslanted 20x20 images", Linear, {}, DESLANTED_20
    ),
    "pairwise_linear": RivalSpec(
        "Pairwise", "a linear unit for every two classes, which vote", PairwiseLinear
    ),
    "knn": RivalSpec("K-NN Euclidean", "three nearest neighbours, exact", NearestNeighbours),
    "knn_deslant": RivalSpec(
        "[deslant] K-NN Euclidean", "the same on deslanted 20x20 images", NearestNeighbours, {}, DESLANTED_20
    ),
    "pca_quadratic": RivalSpec(
        "40 PCA + quadratic", "squashed units on all products of two of 40 principal components", PcaQuadratic
    ),
    "rbf": RivalSpec(
        "1000 RBF + linear", "100 Gaussian units a class on k-means centres, a linear layer", RadialBasis
    ),
    "tangent_distance": RivalSpec(
        "[16x16] Tangent Distance",
        "three nearest neighbours in tangent distance, of those nearest in Euclidean distance",
        TangentDistance,
        {},
        SMALL_16,
    ),
    "svm_poly4": RivalSpec(
        "SVM poly 4", "support vector machines, polynomial kernel of degree 4", PolynomialSvm
    ),
    "svm_virtual": RivalSpec(
        "[dist] V-SVM poly 9",
        "degree 9, fitted again to the support vectors and their copies shifted by one pixel",
        PolynomialSvm,
        {"degree": 9, "offset": 1.0, "virtual": True},
    ),
    "svm_reduced_set": RivalSpec(
        "RS-SVM poly 5",
        "degree 5, its support vectors replaced by 800 vectors made to measure",
        PolynomialSvm,
        {"degree": 5, "vectors": 800},
    ),
    "local_learning": RivalSpec(
        "Local learning",
        "a linear classifier fitted to each pattern's neighbours; LeNet-4 / Local when on its features",
        LocalLearning,
    ),
}


def build_rival(
    name: str,
    *,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    features: Callable[[Tensor], Tensor] | None = None,
    **arguments: Any,
) -> Rival:
    """The rival `name` of `RIVALS`, not yet fitted.

    preprocessing: in place of the rival's own, which is made for 28x28 images
    seed: matters to those that are `seeded`
    features: see `Rival`
    arguments: of the method, in place of the table's; see its class

    Raises RequestError for an unknown rival, argument or value.
    """
    if name not in RIVALS:
        raise unknown("rival", name, RIVALS)
    spec = RIVALS[name]
    for argument in arguments:
        if argument not in spec.parameters:
            raise unknown(f"argument of {name}", argument, spec.parameters)
    chance = {"seed": seed} if spec.seeded else {}
    method: Method = spec.method(**{**spec.arguments, **arguments, **chance})
    return Rival(name, method, preprocessing or spec.preprocessing, features)
