"""What `convbench predict` prints: the most probable classes of each photograph, with a bar for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convbench.bench.predict import Prediction

BAR = 20  # characters that stand for 100 %
EIGHTHS = " ▏▎▍▌▋▊▉"


def print_predictions(predictions: Sequence[Prediction]) -> None:
    """For each photograph its name, then a line for each class: rank, name, percent, bar."""
    console = Console()
    for number, one in enumerate(predictions):
        if number:
            console.print()
        console.print(Text(one.file, style="bold"), soft_wrap=True)  # a name is copied whole
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for justify in ("right", "left", "right", "left"):
            table.add_column(justify=justify, overflow="fold")
        for rank, answer in enumerate(one.answers, start=1):
            table.add_row(str(rank), Text(answer.name), f"{answer.probability:.1f} %", bar(answer.probability))
        console.print(table)


def bar(percent: float) -> str:
    """
    >>> bar(50), bar(2.5)
    ('██████████', '▌')
    """
    eighths = round(percent / 100 * BAR * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
