"""Another library's weights as a file of ours, which says everything that evaluation and prediction need."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convbench.bench.evaluate import load_network
from convbench.errors import RequestError
from convbench.weights import read_metadata, save_weights


def convert_weights(source: Path, network: str, out: Path, *, licence: str | None = None) -> dict[str, Any]:
    """Write the weights of `network` at `source`, in any format and names that are read, to `out` as safetensors.

    licence: under which the weights were published, where it is not the library's own

    The metadata, which are returned as they were written, say network, library, source (the file's name) and its
    sha256, input_shape, classes, preprocessing, conventions, licence where known, which optional tensors are missing
    and whether batch normalisation is folded. Auxiliary heads that the source lacks are left out of the file, too.

    Raises RequestError where `source` is not understood, or where there is already a file at `out`.
    """
    if out.exists():
        raise RequestError(f"{out} is already there: name another file, or delete it")
    loaded = load_network(network, source)
    metadata = {
        **loaded.metadata,
        "network": network,
        "source": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "input_shape": list(loaded.input_shape),
        "classes": list(loaded.classes),
        "preprocessing": asdict(loaded.preprocessing),
    }
    if licence is not None:
        metadata["licence"] = licence
    save_weights(loaded.net, out, metadata, leave_out=metadata.get("missing", ()))
    return read_metadata(out)
