"""How units came to be what they are, over the checkpoints of a training (Zeiler & Fergus 2014, figure 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.evaluation.source import Source
from convbench.explain.figure import Figure, Tile, projected, sheet, stretched
from convbench.explain.projection import Method
from convbench.explain.top9 import LayerTop, cut_square, top9, widest


@dataclass(frozen=True)
class Evolution:
    """stages: what each checkpoint is called, with its units' strongest image"""

    stages: tuple[tuple[str, LayerTop], ...]

    @cached_property
    def figure(self) -> Figure:
        """A row for each unit: its strongest projection at each checkpoint, and last the part of the image it is of."""
        _, last = self.stages[-1]
        side = widest([top for _, top in self.stages])
        rows = []
        for i, unit in enumerate(last.units):
            row = []
            for name, top in self.stages:
                seen = top.units[i].strongest[0].projection
                row.append(Tile(cut_square(projected(seen.pixels), seen, side), f"{name}: {seen.activation:.2g}"))
            final = unit.strongest[0].projection
            rows.append([*row, Tile(cut_square(stretched(final.image), final, side), f"unit {unit.unit} sees")])
        return sheet(rows, f"{last.layer}: each unit's strongest activation over the training, projected")

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pixels."""
        return {"stages": [{"name": name, **top.to_dict()} for name, top in self.stages]}


def evolution(
    checkpoints: Iterable[tuple[str, nn.Module]],
    source: Source,
    layer: str,
    units: int | Sequence[int] = 8,
    *,
    preprocessing: Preprocessing | None = None,
    method: Method = "deconvnet",
    engine: str = "auto",
    seed: int = 0,
) -> Evolution:
    """The strongest activation of some units of `layer` over `source`, projected, for each checkpoint in turn.

    Args:
        checkpoints: names, such as "epoch 5", with the network as it was then; taken one at a time, so that a
            generator may load them one after the other
        others: as in `top9`; `source` may be a part of a data set, such as `PhotographSet.subset` gives, as each
            checkpoint looks at all of it

    Raises RequestError where there is no checkpoint, and what `top9` raises.
    """
    stages = []
    for name, net in checkpoints:
        (top,) = top9(
            *(net, source, [layer], units),
            preprocessing=preprocessing,
            method=method,
            count=1,
            engine=engine,
            seed=seed,
        )
        stages.append((name, top))
    if not stages:
        raise RequestError("expected checkpoints of a training, found none; `convbench train --keep 1,2,5` keeps some")
    return Evolution(tuple(stages))
