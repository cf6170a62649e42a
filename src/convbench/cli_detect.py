"""`convbench detect`: train, evaluate and use detectors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli_options import (
    DataDir,
    Json,
    JudgeEvery,
    Photographs,
    Resume,
    SaveEvery,
    Seed,
    Settings,
    TensorBoard,
    Workers,
)
from convbench.completion import detector_recipes, detectors

detect_app = typer.Typer(
    help="Find objects in photographs with boxes, by SSD and Faster R-CNN.",
    no_args_is_help=True,
)

Weights = Annotated[Path, typer.Option(help="Ours or another library's, or a run's folder.")]
OF_A_FILE = "Of a file that does not say it, such as ssd300_mobilenet_v1."
Arguments = Annotated[
    list[str], typer.Option("--set", help="What such a network is built with: width_multiplier=0.75.")
]


@detect_app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.", autocompletion=detector_recipes)],
    data_name: Annotated[
        str | None, typer.Option("--data", help="A folder with VOC's or COCO's annotations; default the recipe's.")
    ] = None,
    settings: Settings = [],  # noqa: B006
    initial_weights: Annotated[
        Path | None, typer.Option(help="Of the backbone or a detector, a file or a run's folder, to begin from.")
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/detect/RECIPE-seed-S.")] = None,
    resume: Resume = False,
    save_every: SaveEvery = 120,
    workers: Workers = None,
    tensorboard: TensorBoard = False,
    judge_every: JudgeEvery = 1,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Train a detector by a recipe, on a folder of photographs with boxes, and evaluate it."""
    from convbench.bench.record import command_line
    from convbench.bench.train_detector import train_detector
    from convbench.report.detections import print_detector_result
    from convbench.training.loop import Options
    from convbench.training.recipe import parse_settings

    given = {"data": data_name, "initial_weights": None if initial_weights is None else str(initial_weights)}
    folder = out or Path("runs", "detect", f"{Path(recipe).stem}-seed-{seed}")
    run = train_detector(
        recipe,
        out=folder,
        settings=parse_settings(settings) | {key: value for key, value in given.items() if value is not None},
        seed=seed,
        resume=resume,
        data_dir=data_dir,
        options=Options(save_every, workers, tensorboard, judge_every=judge_every),
        command=command_line(),
    )
    if int(os.environ.get("RANK", "0")) > 0:
        return  # the first of torchrun's processes speaks
    if as_json:
        print(json.dumps(run.record, indent=1))
    else:
        read = {split: about for split, about in run.record["data"].items() if split != "classes"}
        print_detector_result(run.record["title"], run.record["detected"], read)
        print(f"run: {folder}, boxes drawn: {folder / 'found.png'}")


@detect_app.command()
def evaluate(
    weights: Weights,
    data_name: Annotated[str, typer.Option("--data", help="A folder with VOC's or COCO's annotations.")],
    network: Annotated[str | None, typer.Argument(help=OF_A_FILE, autocompletion=detectors)] = None,
    split: Annotated[
        str | None, typer.Option(help="train, test, or the name of a list or file; default test, or the only one.")
    ] = None,
    arguments: Arguments = [],  # noqa: B006
    most: Annotated[int, typer.Option("--max-detections", help="Of an image, that count, 1 to 100.")] = 100,
    out: Annotated[Path | None, typer.Option(help="A file for what was found, in COCO's format.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Evaluate a detector: COCO's twelve figures, Pascal VOC's, and both of each class."""
    from convbench.bench.detect import evaluate_detector, load_detector
    from convbench.report.detections import print_detector_result
    from convbench.training.recipe import parse_settings

    detector = load_detector(weights, network, parse_settings(arguments, "--set"))
    result = evaluate_detector(detector, data_name, split=split, most=most, out=out, data_dir=data_dir)
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        print_detector_result(f"{weights}, {data_name} {result['split']}", result, {result["split"]: result})


@detect_app.command()
def predict(
    images: Photographs,
    weights: Weights,
    network: Annotated[str | None, typer.Option(help=OF_A_FILE, autocompletion=detectors)] = None,
    arguments: Arguments = [],  # noqa: B006
    score: Annotated[float, typer.Option(min=0, max=1, help="The least of what is shown.")] = 0.5,
    out: Annotated[Path, typer.Option(help="A folder for the pictures with boxes, and found.json.")] = Path("found"),
    as_json: Json = False,
) -> None:
    """Find objects in photographs: boxes with class and score, drawn on the pictures and as JSON."""
    from convbench.bench.detect import find_objects, load_detector
    from convbench.files import write_json
    from convbench.report.detections import print_finds
    from convbench.training.recipe import parse_settings

    detector = load_detector(weights, network, parse_settings(arguments, "--set"))
    finds = find_objects(detector, images, score=score, out=out)
    content = [one.to_dict() for one in finds]
    write_json(out / "found.json", content)
    print(json.dumps(content, indent=1)) if as_json else print_finds(finds, out)
