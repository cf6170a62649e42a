"""Write the tables of docs/detection-matrix.md: from the records in docs/detection-matrix, else from counts alone.

convbench run detection-matrix --out docs       # on a machine that does nothing else
convbench report detection-matrix --runs docs --picture docs/detection-matrix.png
python benchmarks/detection_matrix.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from convbench.bench.profile_detector import counted_record
from convbench.bench.suite import open_suite
from convbench.report.matrix import markdown, matrix
from convbench.report.records import Record, read_record, read_suites

DOCS = Path(__file__).parents[1] / "docs"
SUITE = "detection-matrix"
TABLE = r"(?:^\|.*\n)+"


def read_or_count() -> tuple[Record, ...]:
    """The kept records, or in the suite's order what is known of each detector before it is measured."""
    if (DOCS / SUITE).is_dir():
        return read_suites(DOCS, [SUITE])[0].detectors
    name, suite = open_suite(SUITE)
    made = []
    with TemporaryDirectory() as folder:
        for spec in suite.detectors:
            path = Path(folder, f"{spec.name}.json")
            path.write_text(json.dumps(counted_record(name, suite, spec)[0] | {"status": "done"}))
            made.append(read_record(path))
    return tuple(made)


def main() -> None:
    page = DOCS / f"{SUITE}.md"
    tables = iter(markdown(matrix(read_or_count())))
    page.write_text(re.sub(TABLE, lambda _: f"{next(tables)}\n", page.read_text(), count=2, flags=re.MULTILINE))
    print(f"wrote the tables of {page}")


if __name__ == "__main__":
    main()
