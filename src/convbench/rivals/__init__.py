"""The classical rivals of LeNet-5: every method of LeCun et al. 1998, figure 9, that is not a network.

The table names modules in words, so that listing the rivals imports neither torch nor scikit-learn.

>>> rival = build_rival("knn", k=5)
>>> build_rival("knn", neighbours=5)
Traceback (most recent call last):
convbench.errors.RequestError: unknown argument of knn 'neighbours': valid is k
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from convbench.errors import RequestError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from convbench.data.preprocessing import Preprocessing
    from convbench.rivals.rival import Rival

__all__ = ["RIVALS", "RivalSpec", "build_rival"]

DESLANTED_20 = {"deslant": True, "crop": 20}
SMALL_16 = {"crop": 20, "size": 16}


@dataclass(frozen=True)
class RivalSpec:
    """A row of the table of rivals.

    title: as figure 9 of the paper names it
    summary: what it is, in a line
    source: module here and class, a dataclass that fulfils `method.Method`
    arguments: of the class, where they differ from its defaults
    prepared: arguments of `Preprocessing`, for 28x28 images such as MNIST's
    """

    title: str
    summary: str
    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prepared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> type[Any]:
        """The class."""
        module, name = self.source.split(".")
        found: type[Any] = getattr(import_module(f"convbench.rivals.{module}"), name)
        return found

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to 28x28 images first."""
        from convbench.data.preprocessing import Preprocessing

        return Preprocessing(**self.prepared)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The arguments that `build_rival` takes, the seed apart."""
        return tuple(argument.name for argument in fields(self.method) if argument.name != "seed")

    @property
    def seeded(self) -> bool:
        """Whether chance has a part in `fit`, so that the seed matters."""
        return any(argument.name == "seed" for argument in fields(self.method))


RIVALS = {
    "linear": RivalSpec("Linear", "one squashed unit a class", "linear.Linear"),
    "linear_deslant": RivalSpec(
        "[deslant] Linear", "the same on deslanted 20x20 images", "linear.Linear", prepared=DESLANTED_20
    ),
    "pairwise_linear": RivalSpec("Pairwise", "a linear unit for every two classes; they vote", "linear.PairwiseLinear"),
    "knn": RivalSpec("K-NN Euclidean", "three nearest neighbours, exact", "neighbours.NearestNeighbours"),
    "knn_deslant": RivalSpec(
        "[deslant] K-NN Euclidean",
        "the same on deslanted 20x20 images",
        "neighbours.NearestNeighbours",
        prepared=DESLANTED_20,
    ),
    "pca_quadratic": RivalSpec(
        "40 PCA + quadratic",
        "squashed units on all products of two principal components",
        "quadratic.PcaQuadratic",
    ),
    "rbf": RivalSpec(
        "1000 RBF + linear",
        "Gaussian units on k-means centres of each class, a linear layer",
        "rbf.RadialBasis",
    ),
    "tangent_distance": RivalSpec(
        "[16x16] Tangent Distance",
        "three nearest in tangent distance, sought among those nearest in Euclidean distance",
        "tangent.TangentDistance",
        prepared=SMALL_16,
    ),
    "svm_poly4": RivalSpec(
        "SVM poly 4", "support vector machines, a polynomial kernel of degree 4", "svm.PolynomialSvm"
    ),
    "svm_virtual": RivalSpec(
        "[dist] V-SVM poly 9",
        "degree 9, fitted again to the support vectors and their copies shifted by one pixel",
        "svm.PolynomialSvm",
        {"degree": 9, "offset": 1.0, "virtual": True},
    ),
    "svm_reduced_set": RivalSpec(
        "RS-SVM poly 5",
        "degree 5, all support vectors replaced by 800 vectors made to measure",
        "svm.PolynomialSvm",
        {"degree": 5, "vectors": 800},
    ),
    "local_learning": RivalSpec(
        "Local learning",
        "a linear classifier fitted to each pattern's neighbours; LeNet-4 / Local when on its features",
        "local.LocalLearning",
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
    seed: of those that are `seeded`
    features: see `Rival`
    arguments: of the method, in place of the table's; see its class

    Raises RequestError for an unknown rival, argument or value.
    """
    from pydantic import TypeAdapter, ValidationError

    from convbench.rivals.rival import Rival

    if name not in RIVALS:
        raise unknown("rival", name, RIVALS)
    spec = RIVALS[name]
    kinds = get_type_hints(spec.method, include_extras=True)
    for argument, value in arguments.items():
        if argument not in spec.parameters:
            raise unknown(f"argument of {name}", argument, spec.parameters)
        try:
            TypeAdapter(kinds[argument]).validate_python(value, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"].replace("Input", "value", 1)
            raise RequestError(f"{argument} of {name}: {problem}, found {value!r}") from None
    chance = {"seed": seed} if spec.seeded else {}
    method = spec.method(**{**spec.arguments, **arguments, **chance})
    return Rival(name, method, preprocessing or spec.preprocessing, features)
