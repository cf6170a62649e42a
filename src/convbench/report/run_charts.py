"""The charts of one run by itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from convbench.report.charts import confusion, per_class
from convbench.report.drawing import Figure, figure_of
from convbench.report.records import Run


@dataclass(frozen=True)
class RunCharts:
    """Where a run that learnt to classify is wrong."""

    classes: Figure
    confusion: Markup


def run_charts(run: Run) -> RunCharts:
    """Of a run that is done."""
    return RunCharts(figure_of(partial(per_class, [run])), confusion(run))
