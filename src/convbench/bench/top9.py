"""The images of a data set at which a network's units are strongest, kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convbench import explain
from convbench.bench.evaluate import Loaded
from convbench.bench.explain import digest_of, open_subject, reading_of, spread
from convbench.bench.score import open_source
from convbench.explain.figure import plain
from convbench.explain.projection import Method
from convbench.explain.top9 import LayerTop, choose_units, count_units, mosaics, project_strongest, rank, widest
from convbench.files import write_json

KEPT = Path("explain", "top9")  # in a run's folder


def top9(
    network: str,
    weights: Path | None,
    data: str,
    layers: Sequence[str],
    units: int | Sequence[int],
    out: Path,
    *,
    split: str = "test",
    method: Method = "deconvnet",
    seed: int = 0,
    engine: str = "auto",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """`explain.top9`, a picture for each layer and top9.json in the folder `out`; what is there already is not redone.

    Raises what `open_subject` and `explain.top9` raise.
    """
    loaded, source = open_subject(network, weights), open_source(data, split, data_dir)
    reading = reading_of(loaded, source)
    asked = {
        **{"network": network, "weights": digest_of(loaded.net), "preprocessing": asdict(reading)},
        **{"data": source.name, "split": split, "fingerprint": source.fingerprint},
        **{"layers": list(layers), "units": units if isinstance(units, int) else list(units)},
        **{"method": method, "seed": seed},
    }
    kept = out / "top9.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        if found["asked"] == json.loads(json.dumps(asked)) and _is_whole(found, out):
            return found
    tops = explain.top9(
        *(loaded.net, source, layers, units),
        preprocessing=reading,
        method=method,
        seed=seed,
        engine=engine,
    )
    pictures = [top.figure.save(out / f"{top.layer or 'net'}.png").name for top in tops]
    result = {"asked": asked, "pictures": pictures, "layers": [_with_pictures(top, out) for top in tops]}
    write_json(kept, result)
    return result


def _with_pictures(top: LayerTop, out: Path) -> dict[str, Any]:
    """The layer's values; each unit with the names of two files, its nine projections and what it saw."""
    side, values = widest([top]), top.to_dict()
    for unit, said in zip(top.units, values["units"], strict=True):
        said["pictures"] = [
            f"units/{plain(picture, '').save(out / 'units' / f'{top.layer}-{unit.unit}-{what}.png').name}"
            for picture, what in zip(mosaics(unit, side), ("projected", "seen"), strict=True)
        ]
    return values


def _is_whole(found: dict[str, Any], out: Path) -> bool:
    """Whether the pictures are all there, each unit's, too."""
    of_units = [unit.get("pictures") for layer in found["layers"] for unit in layer["units"]]
    return all(of_units) and all((out / one).is_file() for one in chain(found["pictures"], *of_units))


@dataclass(frozen=True)
class Kept:
    """A unit's strongest images, as `top9` kept them.

    data, split: where they were looked for
    strongest: plain values of each, the strongest first, with its "index" in the data set and its "activation"
    pictures: the files of the nine projections and of what the unit saw
    """

    data: str
    split: str
    method: str
    strongest: list[dict[str, Any]]
    pictures: tuple[Path, Path]


def kept_unit(out: Path, digest: str, layer: str, unit: int) -> Kept | None:
    """What `top9` has kept in the folder `out` of a unit; None where it has nothing of it.

    digest: of the network's weights, as others have other strongest images
    """
    file = out / "top9.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text())
    asked = found["asked"]
    if asked["weights"] != digest or not _is_whole(found, out):
        return None
    for one in (unit for of in found["layers"] if of["layer"] == layer for unit in of["units"]):
        if one["unit"] == unit:
            projected, seen = (out / name for name in one["pictures"])
            return Kept(asked["data"], asked["split"], asked["method"], one["strongest"], (projected, seen))
    return None


class Search:
    """The strongest images of any unit of a network among some of a data set's, looked for when it is asked.

    The first question takes one pass over the images, in which all units of all stages are ranked; the next ones have
    but to project.
    """

    def __init__(self, data: str, images: int, data_dir: Path | None, split: str = "test") -> None:
        """images: so many of the split, spread over it."""
        whole = open_source(data, split, data_dir)
        self.source, self.data, self.split, self.total = spread(whole, images), whole.name, split, len(whole)
        self.ranked: dict[str, Tensor] = {}  # by layer

    def place(self, index: int) -> int:
        """Of an image of the part in the whole data set."""
        return index * self.total // len(self.source)

    def unit(self, loaded: Loaded, layer: str, unit: int, method: Method) -> LayerTop:
        """Of one unit; what `explain.top9` raises."""
        reading, image = reading_of(loaded, self.source), torch.zeros(1, *loaded.input_shape)
        choose_units(loaded.net, image, [layer], [unit], 0)  # tells of one that is not there
        if layer not in self.ranked:
            stages = [one for one in getattr(loaded.net, "stages", ()) if one not in self.ranked]
            units = {one: range(total) for one, total in count_units(loaded.net, image, [layer, *stages]).items()}
            self.ranked |= rank(loaded.net, self.source, units, preprocessing=reading, engine="eager")
        images = self.ranked[layer][:, unit : unit + 1]
        return project_strongest(
            *(loaded.net, self.source, layer, [unit], images), preprocessing=reading, method=method
        )
