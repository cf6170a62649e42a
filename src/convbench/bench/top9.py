"""The images of a data set at which a network's units are strongest, kept in a folder, each answer in one of its own.

An answer's folder is named after what was asked, and its top9.json, written last, makes it an answer: without it, as
after an interruption, there are but pictures, which the same question writes again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
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
from convbench.explain.figure import Figure, plain
from convbench.explain.projection import Method
from convbench.explain.top9 import LayerTop, choose_units, count_units, mosaics, project_strongest, rank, widest
from convbench.files import make_folder, write_json

KEPT = Path("explain", "top9")  # in a run's folder
ANSWER = "top9.json"  # in each answer's


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
    image_size: int | None = None,
    in_channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> dict[str, Any]:
    """`explain.top9`, kept in a folder of its own in `out`: a picture for each layer and unit, and top9.json.

    What is there already is not redone. "pictures" are names within `out`.

    image_size, in_channels, mean, std: as in `open_subject`

    Raises what `open_subject` and `explain.top9` raise, and RequestError where `out` cannot be written to.
    """
    loaded = open_subject(network, weights, image_size=image_size, in_channels=in_channels, mean=mean, std=std)
    source = open_source(data, split, data_dir)
    reading = reading_of(loaded, source)
    asked = {
        **{"network": network, "weights": digest_of(loaded.net), "preprocessing": asdict(reading)},
        **{"data": source.name, "split": split, "fingerprint": source.fingerprint},
        **{"layers": list(layers), "units": units if isinstance(units, int) else list(units)},
        **{"method": method, "seed": seed},
    }
    question = json.dumps(asked, sort_keys=True)
    folder = f"{method}-{hashlib.sha256(question.encode()).hexdigest()[:12]}"
    if found := next(_answers(out, folder), None):
        return found
    make_folder(out)  # before the pass over the data set, not after
    tops = explain.top9(
        *(loaded.net, source, layers, units),
        preprocessing=reading,
        method=method,
        seed=seed,
        engine=engine,
    )
    pictures = [_saved(top.figure, out, f"{folder}/{top.layer or 'net'}.png") for top in tops]
    layers_found = [_with_pictures(top, out, f"{folder}/units") for top in tops]
    result = {"asked": asked, "pictures": pictures, "layers": layers_found}
    write_json(out / folder / ANSWER, result)
    return result


def _with_pictures(top: LayerTop, out: Path, folder: str) -> dict[str, Any]:
    """The layer's values; each unit with the names of two files, its nine projections and what it saw."""
    side, values = widest([top]), top.to_dict()
    for unit, said in zip(top.units, values["units"], strict=True):
        said["pictures"] = [
            _saved(plain(picture, ""), out, f"{folder}/{top.layer}-{unit.unit}-{what}.png")
            for picture, what in zip(mosaics(unit, side), ("projected", "seen"), strict=True)
        ]
    return values


def _saved(figure: Figure, out: Path, name: str) -> str:
    """The name within `out` to which the figure was written."""
    figure.save(out / name)
    return name


def _answers(out: Path, folder: str = "*") -> Iterator[dict[str, Any]]:
    """What is kept whole in `out`, the newest first."""
    for file in sorted(out.glob(f"{folder}/{ANSWER}"), key=lambda file: file.stat().st_mtime_ns, reverse=True):
        found: dict[str, Any] = json.loads(file.read_text())
        if _is_whole(found, out):
            yield found


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


def kept_unit(out: Path, digest: str, layer: str, unit: int, method: Method) -> Kept | None:
    """What `top9` has kept in the folder `out` of a unit; None where it has nothing of it.

    The newest answer by `method`, or else the newest by another.

    digest: of the network's weights, as others have other strongest images
    """
    kept = list[Kept]()
    for answer in (one for one in _answers(out) if one["asked"]["weights"] == digest):
        asked = answer["asked"]
        for one in (unit for of in answer["layers"] if of["layer"] == layer for unit in of["units"]):
            if one["unit"] == unit:
                projected, seen = (out / name for name in one["pictures"])
                kept.append(Kept(asked["data"], asked["split"], asked["method"], one["strongest"], (projected, seen)))
    return next((one for one in kept if one.method == method), kept[0] if kept else None)


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
