"""A cost as flat records, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from convbench.counting.operators import CLASSES
from convbench.notebook import table

if TYPE_CHECKING:
    from convbench.counting.rows import Cost


def as_records(cost: Cost) -> list[dict[str, Any]]:
    """One record a row, each value in a column of its own; the column of what is counted names its convention."""
    return [_flatten(row, cost) for row in cost.to_dict()["layers"]]


def as_csv(cost: Cost) -> str:
    """The records as CSV with a heading."""
    records = as_records(cost)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_html(cost: Cost) -> str:
    """A table of the columns that are looked at first, with the totals beneath."""
    headings = ("layer", "kind", "output", "parameters", cost.convention.unit, "share", "values")
    rows = [
        (
            *(row["name"], row["kind"], "x".join(map(str, row["output_shape"])), row["params"], row["counted"]),
            *(f"{row['share']:.1f} %", row["activations"]),
        )
        for row in cost.to_dict()["layers"]
    ]
    rows.append(("total", "", "", cost.params, cost.total(), "", cost.activations))
    shape = "x".join(map(str, cost.input_shape))
    unknown = f"without a rule, so that totals are lower bounds: {', '.join(map(str, cost.unknown))}"
    caption = f"{cost.network}, one {shape} image; {cost.convention.name}"
    return table(caption, headings, rows, unknown if cost.unknown else "")


def _flatten(row: dict[str, Any], cost: Cost) -> dict[str, Any]:
    fields = row.pop("receptive_field") or dict.fromkeys(("size", "stride", "offset"), (None, None))
    forward, backward = row.pop("operations"), row.pop("backward_operations")
    row["output_shape"] = "x".join(map(str, row["output_shape"]))
    row[cost.convention.name] = row.pop("counted")
    row["share_percent"] = row.pop("share")
    for part, (rows, columns) in fields.items():
        row |= {f"receptive_field_{part}_rows": rows, f"receptive_field_{part}_columns": columns}
    row |= {f"operations_{name}": forward.get(name, 0) for name in CLASSES}
    return row | ({f"backward_{name}": backward.get(name, 0) for name in CLASSES} if cost.has_backward else {})
