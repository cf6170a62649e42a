"""What is counted, and how: a number of operations means nothing without its convention, which is always named.

ResNet-50 has 3.8, 4.1, 7.7 or 8.2 "GFLOPs" in print, for two strides and with a multiply-add counted as one or two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from convbench.counting.operators import CLASSES, PAIRED
from convbench.errors import RequestError, unknown

UNITS = {"macs": "multiply-adds", "flops": "FLOPs"}
PARTS = {
    "forward": "forward pass",
    "forward+backward": "forward and backward pass",
    "training-step": "training step",
}
OPTIMISERS = {  # operations for each parameter value, as torch.optim does them; weight decay where it is the default
    "sgd": 2,
    "sgd-momentum": 4,
    "sgd-momentum-decay": 6,
    "adam": 13,  # two moving averages, a root, a quotient
    "adamw": 14,
}


@dataclass(frozen=True)
class Convention:
    """One way to count.

    unit: "macs", where a multiplication and the addition that follows it are one, or "flops", where they are two;
        what comes not in such pairs (bias, pooling, normalisation, ...) is one each in both
    counted: classes of operations, of `convbench.counting.operators.CLASSES`
    fold_batch_norm: count as if batch normalisation lay in the weights of the convolution before it, as deployed
    part: "forward", "forward+backward", or "training-step", which adds the optimiser's work
    optimiser: of the training step: a name of `OPTIMISERS`

    Raises RequestError for a name that is not one of these, and for folding in training.
    """

    unit: str = "macs"
    counted: tuple[str, ...] = PAIRED
    fold_batch_norm: bool = False
    part: str = "forward"
    optimiser: str = "sgd-momentum"

    def __post_init__(self) -> None:
        chosen: list[tuple[str, str, Mapping[str, object]]] = [
            ("unit", self.unit, UNITS),
            ("part to count", self.part, PARTS),
            ("optimiser", self.optimiser, OPTIMISERS),
            *(("class of operations", name, CLASSES) for name in self.counted),
        ]
        for what, name, valid in chosen:
            if name not in valid:
                raise unknown(what, name, valid)
        if not self.counted:
            raise RequestError(f"expected classes of operations to count, found none: valid are {', '.join(CLASSES)}")
        if self.fold_batch_norm and self.part != "forward":
            raise RequestError("batch normalisation can be folded in the forward pass alone, found a training step")
        object.__setattr__(self, "counted", tuple(name for name in CLASSES if name in self.counted))

    @property
    def unit_in_words(self) -> str:
        return UNITS[self.unit]

    @property
    def name(self) -> str:
        """All of it in words."""
        skipped = [name for name in CLASSES if name not in self.counted]
        if not skipped:
            what = "of all operators"
        elif len(skipped) <= 3:
            what = f"of all operators but {_in_words(skipped)}"
        else:
            what = f"of {_in_words(self.counted)}"
        folded = ", batch normalisation folded" if self.fold_batch_norm else ""
        step = f" with {self.optimiser}" if self.part == "training-step" else ""
        return f"{UNITS[self.unit]} {what}{folded}, {PARTS[self.part]}{step}"

    def count(self, operations: Mapping[str, int]) -> int:
        """The operations of the classes that are counted, in the unit."""
        return sum(
            number // 2 if self.unit == "macs" and name in PAIRED else number
            for name, number in operations.items()
            if name in self.counted
        )


CONVENTIONS = {
    "macs": Convention(),
    "flops": Convention("flops"),
    "all": Convention("flops", tuple(CLASSES)),
    "folded": Convention("flops", tuple(CLASSES), fold_batch_norm=True),
    "training": Convention("flops", part="forward+backward"),
    "training-step": Convention("flops", tuple(CLASSES), part="training-step"),
}


def open_convention(
    name: str = "macs",
    *,
    unit: str | None = None,
    counted: Iterable[str] | None = None,
    fold_batch_norm: bool | None = None,
    part: str | None = None,
    optimiser: str | None = None,
) -> Convention:
    """The convention of that name, with what is given put in its place; RequestError for anything unknown.

    >>> open_convention("flops", counted=("convolution", "bias")).name
    'FLOPs of convolutions and biases, forward pass'
    """
    if name not in CONVENTIONS:
        raise unknown("convention", name, CONVENTIONS)
    given = {
        "unit": unit,
        "counted": None if counted is None else tuple(counted),
        "fold_batch_norm": fold_batch_norm,
        "part": part,
        "optimiser": optimiser,
    }
    return replace(CONVENTIONS[name], **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]


def _in_words(classes: Iterable[str]) -> str:
    *most, last = (CLASSES[name] for name in classes)
    return f"{', '.join(most)} and {last}" if most else last
