"""A network written for deployment: checked in the format's own library before it is there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.bench.exportable import Exportable, Images, images_for_int8, open_exportable, photographs_for
from convbench.bench.networks import Shape
from convbench.errors import ConvbenchError, RequestError, unknown
from convbench.files import make_folder
from convbench.modes import evaluation_mode
from convbench.notebook import facts
from convbench.timing.export import FORMATS, Format, run_model, write_model
from convbench.timing.fidelity import Fidelity, compare_outputs
from convbench.timing.int8 import Int8Check, check_int8


@dataclass(frozen=True)
class Exported:
    """What was written, and how it was checked.

    files: the one to name when it is loaded comes first
    bytes: of all files
    outputs: scores of one image
    notes: what the file says of itself: network, precision, input_shape, preprocessing, preparation (the same in
        words), classes, and what is known of the weights
    library: that ran it, with its version
    check: the file's answers beside eager's: on photographs; of int8, see `Int8Check`
    """

    network: str
    format: str
    precision: str
    files: tuple[Path, ...]
    bytes: int
    input_shape: Shape
    outputs: int
    notes: Mapping[str, Any]
    library: str
    check: Fidelity | Int8Check

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "files": [str(file) for file in self.files]}

    def _repr_html_(self) -> str:
        """What was written, in a notebook."""
        known = {
            "files": ", ".join(map(str, self.files)),
            "bytes": self.bytes,
            "precision": self.precision,
            "images": "x".join(map(str, self.input_shape)),
            "scores": self.outputs,
            "preparation": self.notes.get("preparation"),
            "run and compared by": self.library,
        }
        return facts(f"{self.network} as {self.format}", known)


def export(
    network: str | nn.Module,
    to: str,
    out: Path | None = None,
    *,
    weights: Path | None = None,
    image_size: int | None = None,
    in_channels: int | None = None,
    int8: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
) -> Exported:
    """Write a network as `to`: "onnx", "openvino" or "torch" (torch.export), for float32 images in any number.

    Args:
        network: a name, `package.module:callable`, or any nn.Module; it computes as in evaluation mode
        out: the file; by default the network's name in the working directory. OpenVINO's .xml has its .bin beside it
        weights: a file of a named network's, which also says how images are prepared and what the classes are;
            without, the network is as it is made, which by name is untrained
        image_size: rows and columns; default as published, or 224
        in_channels: default as published, or 3
        int8: quantised; OpenVINO alone
        data: labelled images, of whose test split a hundred calibrate int8 and up to a thousand others judge it; by
            default both see crops of two photographs, without labels
        data_dir: where data sets lie

    What is written is read back by the format's own library, run on images in batches of several sizes, and compared
    with eager; only then are the files moved into place.

    Raises RequestError for an unknown format, a file that is already there, a library that is missing, or a request
    that does not fit the network; ConvbenchError where the network cannot be converted, the file not written, or the
    check fails. Nothing is left behind then.
    """
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    if int8 and to != "openvino":
        raise RequestError(f"int8 is written for OpenVINO alone: expected the format openvino, found {to}")
    if data is not None and not int8:
        raise RequestError("labelled data judge int8: expected int8 to be asked for beside data")
    kind, precision = FORMATS[to], "int8" if int8 else "fp32"
    kind.require()
    name = network if isinstance(network, str) else type(network).__name__
    files = _targets(out or Path(f"{name.rpartition(':')[2]}{kind.suffixes[-1]}"), kind)
    exportable = open_exportable(network, name, weights, image_size=image_size, in_channels=in_channels)
    images = images_for_int8(exportable, data, data_dir) if int8 else photographs_for(exportable)
    notes = {**exportable.notes, "precision": precision, "convbench": version("convbench")}
    reference = _eager(exportable, images)
    make_folder(files[-1].parent)
    with tempfile.TemporaryDirectory(dir=files[-1].parent, prefix=".convbench-export-") as aside:
        path = Path(aside, files[-1].name)
        texts = {key: json.dumps(value) for key, value in notes.items()}
        write_model(to, exportable.net, exportable.input_shape, path, texts, images.calibration)
        check = _check(name, reference, torch.cat(run_model(to, path, images.batches())), images, kind)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        _move(path.parent, files)
    library = f"{kind.library} {version(kind.library)}"
    return Exported(
        network=name,
        format=to,
        precision=precision,
        files=files[::-1],
        bytes=size,
        input_shape=exportable.input_shape,
        outputs=reference.shape[1],
        notes=notes,
        library=library,
        check=check,
    )


def _eager(exportable: Exportable, images: Images) -> Tensor:
    """What the network itself answers; RequestError where it cannot read such images, or gives no scores."""
    name, shape = exportable.notes["network"], "x".join(map(str, exportable.input_shape))
    answers = []
    with evaluation_mode(exportable.net), torch.inference_mode():
        for batch in images.batches():
            try:
                answers.append(exportable.net(batch))
            except RuntimeError as error:
                raise RequestError(f"{name} cannot read {shape} images: {str(error).splitlines()[0]}") from error
            if not isinstance(answers[-1], Tensor) or answers[-1].ndim != 2:
                found = tuple(answers[-1].shape) if isinstance(answers[-1], Tensor) else type(answers[-1]).__name__
                raise RequestError(f"{name}: expected scores, one row an image, found {found}")
    return torch.cat(answers)


def _check(name: str, reference: Tensor, scores: Tensor, images: Images, kind: Format) -> Fidelity | Int8Check:
    """How the file answers beside eager; ConvbenchError where it answers badly."""
    int8 = images.calibration is not None
    judged = check_int8(reference, scores, images.labels, what=f"{name} in int8") if int8 else None
    fidelity = compare_outputs(reference, scores, "int8" if int8 else "fp32")
    if not fidelity.passed:
        raise ConvbenchError(f"{kind.title} does not answer as {name} does: {fidelity.why}")
    return judged or fidelity


def _targets(out: Path, kind: Format) -> tuple[Path, ...]:
    """The files that will be written; RequestError where `out` ends otherwise than the format does, or one is there."""
    if out.suffix != kind.suffixes[-1]:
        raise RequestError(f"{out}: expected the name of {kind.title}'s file to end in {kind.suffixes[-1]}")
    files = tuple(out.with_suffix(suffix) for suffix in kind.suffixes)
    for file in files:
        if file.exists():
            raise RequestError(f"{file} is already there: name another file, or delete it")
    return files


def _move(aside: Path, targets: tuple[Path, ...]) -> None:
    """Give the files in `aside` their places, once they are on the disk: all of them, or none."""
    moved: list[Path] = []
    try:
        for target in targets:
            with Path(aside, target.name).open("rb+") as file:
                os.fsync(file.fileno())
        for target in targets:
            Path(aside, target.name).replace(target)
            moved.append(target)
    except OSError as error:
        for target in moved:
            target.unlink()
        raise ConvbenchError(f"cannot write {targets[-1]}: {error.strerror}; nothing was left there") from error
