"""A detector on a few hundred photographs with boxes: AP on those for testing, and the minutes that it took.

    python benchmarks/cells.py ssd300-mobilenet-cpu --initial-weights FILE --data-dir DIR --out docs/detection/NAME.json

The recipe's data set is `bccd`, 364 blood smears in Pascal VOC's layout (Shenggan/BCCD_Dataset on GitHub, MIT): 292 are
learnt from, 72 judged. The weights are of the backbone, trained on ImageNet.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from convbench.bench.train_detector import train_detector
from convbench.files import write_json
from convbench.timing.load import watch_load
from convbench.training.loop import Options
from convbench.training.recipe import parse_settings


def summary(record: dict[str, Any], other_load: float | None) -> dict[str, Any]:
    """What is kept of a run; other_load: percent of the machine that other work took meanwhile, where it is known."""
    recipe, found = record["recipe"], record["detected"]
    return {
        "network": recipe["network"],
        "side": recipe["preprocessing"]["size"],
        "passes": recipe["epochs"],
        "images": {split: record["data"][split]["n"] for split in ("train", "test")},
        "minutes": record["seconds"]["train"] / 60,
        "ap": found["ap"],
        "ap50": found["ap50"],
        "ap75": found["ap75"],
        "per_class": found["per_class"],
        "other_load": other_load,
        "machine": record["machine"],
        "versions": record["versions"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--initial-weights", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--judge-every", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, watch_load() as load:
        run = train_detector(
            asked.recipe,
            out=Path(folder) / "run",
            settings={"initial_weights": asked.initial_weights, **parse_settings(asked.settings)},
            data_dir=asked.data_dir,
            options=Options(judge_every=asked.judge_every),
        )
    write_json(asked.out, summary(run.record, load.other))


if __name__ == "__main__":
    main()
