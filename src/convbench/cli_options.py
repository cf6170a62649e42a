"""Arguments and options that several commands share, worded once, with what a shell completes for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.completion import data_sets, networks

NetworkName = Annotated[
    str,
    typer.Argument(help="A network's name, or package.module:callable that makes one.", autocompletion=networks),
]
Photographs = Annotated[list[Path], typer.Argument(help="Photographs, in any format that Pillow reads.")]
ImageSize = Annotated[int | None, typer.Option(help="Rows and columns of the image; default as published.")]
Channels = Annotated[int | None, typer.Option(help="Channels of the image; default as published.")]
DataName = Annotated[str, typer.Option("--data", help="A data set's name or folder.", autocompletion=data_sets)]
Split = Annotated[str, typer.Option(help="train or test.")]
Settings = Annotated[
    list[str], typer.Option("--set", help="A key of the recipe that differs: optimiser.lr=0.01; may be given again.")
]
Seed = Annotated[int, typer.Option(help="Of the initial weights, the order and the views.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training interrupted in --out, or begin one.")]
SaveEvery = Annotated[float, typer.Option(min=0, help="Seconds between saved states within an epoch.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes that read photographs in files; default by the machine.")
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, too.")]
JudgeEvery = Annotated[int, typer.Option(min=1, help="Epochs between looks at the images for testing.")]
Engine = Annotated[str, typer.Option(help="Such as openvino-fp32; auto is the fastest that answers as eager does.")]
Precision = Annotated[str, typer.Option(help="The lowest that auto may take: fp32, bf16 or int8.")]
Runs = Annotated[Path, typer.Option(help="The folder of all runs.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Where the data sets lie; else CONVBENCH_DATA, the cache, the system.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
