"""The command line: every command a few lines over the library, which is imported only when a command needs it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convbench.cli_detect import detect_app
from convbench.cli_explain import explain_app
from convbench.cli_options import (
    Channels,
    DataDir,
    DataName,
    Engine,
    ImageSize,
    Json,
    JudgeEvery,
    NetworkName,
    Photographs,
    Precision,
    Resume,
    Runs,
    SaveEvery,
    Seed,
    Settings,
    Split,
    TensorBoard,
    Workers,
)
from convbench.completion import (
    data_sets,
    data_sets_and_check,
    families,
    networks,
    networks_and_detectors,
    recipes,
    suites,
    suites_with_runs,
)
from convbench.errors import ConvbenchError, RequestError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from convbench.bench.networks import Network
    from convbench.counting import Cost

CHOOSE, TRAIN, USE, BENCH = "Choose", "Train and judge", "Look inside and use", "Keep and show"  # panels of the help

app = typer.Typer(
    help="The convolutional networks that made ImageNet, as published, and the bench to train, cost and compare them.",
    epilog="An error is one line; --debug shows where it arose. Exit code 1: the work failed, 2: the request was wrong",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

weights_app = typer.Typer(help="Convert the weights of other libraries.", no_args_is_help=True)
app.add_typer(detect_app, name="detect", rich_help_panel=TRAIN)
app.add_typer(explain_app, name="explain", rich_help_panel=USE)
app.add_typer(weights_app, name="weights", rich_help_panel=USE)


def _print_version(wanted: bool) -> None:
    if wanted:
        from convbench import __version__

        print(f"convbench {__version__}")
        raise typer.Exit


@app.callback()
def convbench(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What holds for every command."""


@app.command(rich_help_panel=CHOOSE)
def models(
    name: Annotated[
        str | None,
        typer.Argument(help="A network's or detector's name; none lists all.", autocompletion=networks_and_detectors),
    ] = None,
    family: Annotated[str | None, typer.Option(help="One family alone, such as vgg.", autocompletion=families)] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of them as one page, which is in docs.")] = False,
    as_json: Json = False,
) -> None:
    """List the networks and detectors with their published figures, or tell the story of one."""
    if markdown:
        if (name, family, as_json) != (None, None, False):
            raise RequestError("--markdown writes the page of all: expected no name, --family or --json beside it")
        from convbench.report.networks_page import networks_page

        print(networks_page(), end="")
        return
    from convbench.report.stories import (
        describe_detectors,
        describe_network,
        describe_networks,
        print_networks,
        print_story,
    )

    if name is not None:
        print(json.dumps(describe_network(name), indent=1)) if as_json else print_story(name)
    elif as_json:
        print(json.dumps(describe_networks(family) + describe_detectors(family), indent=1))
    else:
        print_networks(family)


@app.command(rich_help_panel=CHOOSE)
def cost(
    network: Annotated[
        str,
        typer.Argument(
            help="A network's or detector's name, or package.module:callable that makes one.",
            autocompletion=networks_and_detectors,
        ),
    ],
    image_size: ImageSize = None,
    in_channels: Channels = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs; default as published.")] = None,
    convention: Annotated[
        str, typer.Option(help="macs, flops, all, folded, training, training-step; options below change it.")
    ] = "macs",
    unit: Annotated[str | None, typer.Option(help="macs, or flops, of which a multiply-add has two.")] = None,
    count: Annotated[str | None, typer.Option(help="Classes such as convolution,matmul,bias.")] = None,
    fold: Annotated[
        bool | None, typer.Option("--fold/--no-fold", help="Batch normalisation as deployed: in the convolutions.")
    ] = None,
    part: Annotated[str | None, typer.Option(help="forward, forward+backward or training-step.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="Of the training step, such as adam.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A line for each layer and operator.")] = False,
    wide: Annotated[bool, typer.Option("--wide", help="Every column.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write every row and column to this file, too.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where an operator has no rule.")] = False,
    referees: Annotated[bool, typer.Option("--referees", help="What other counters say, and what the gap is.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="The most memory that is taken at a time.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images at a time, for --memory.")] = 1,
    fits: Annotated[str | None, typer.Option(help="The largest batch in so much memory, such as 8GiB.")] = None,
    as_json: Json = False,
) -> None:
    """Count a network by layer: parameters, operations, values, memory, and what of the image a unit sees."""
    from convbench.detection.registry import names as detectors

    is_detector = network in detectors()
    if is_detector and (in_channels is not None or referees or memory or fits):
        raise RequestError(f"{network} is a detector: expected no --in-channels, --referees, --memory or --fits")
    if ":" not in network and not is_detector:
        from convbench.models import published_input

        published_input(network)  # before torch is loaded for longer than a wrong name deserves
    from convbench.bench.cost import cost as count_cost
    from convbench.bench.cost import open_on_meta
    from convbench.claims import check_totals
    from convbench.counting import open_convention
    from convbench.report.costs import print_cost

    classes = count.split(",") if count else None
    chosen = open_convention(
        convention, unit=unit, counted=classes, fold_batch_norm=fold, part=part, optimiser=optimiser
    )
    if is_detector:
        shape = None if image_size is None else (3, image_size, image_size)
        counted = count_cost(network, shape, num_classes=num_classes, convention=chosen)
    else:
        opened = open_on_meta(network, image_size=image_size, in_channels=in_channels, num_classes=num_classes)
        counted = count_cost(opened, convention=chosen)
    if strict and counted.unknown:
        raise ConvbenchError(f"{network}: no rule counts {'; '.join(map(str, counted.unknown))}")
    if csv is not None:
        counted.to_csv(csv)
    is_published = ":" not in network and (image_size, in_channels, num_classes) == (None, None, None)
    claims = check_totals(network) if is_published else []
    result = counted.to_dict() | {"claims": [one.to_dict() for one in claims]}
    show = not as_json
    if show and not (referees or memory or fits):
        print_cost(counted, every_row=layers, every_column=wide, claims=claims)
    if is_detector:
        result["parts"] = _parts(counted, show)
    if referees:
        result["referees"] = _referees(opened, is_published, show)
    training = chosen.part != "forward"
    if memory:
        result["memory"] = _memory(opened, batch_size, training, chosen.optimiser, show)
    if fits is not None:
        result["fits"] = _fits(opened, fits, training, chosen.optimiser, show)
    if as_json:
        print(json.dumps(result, indent=1))


def _parts(counted: Cost, show: bool) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from convbench.detection.parts import split_cost
    from convbench.report.costs import print_parts

    parts = [asdict(part) for part in split_cost(counted)]
    if show:
        print_parts(parts)
    return parts


def _referees(network: Network, is_published: bool, show: bool) -> dict[str, Any]:
    from convbench.claims import check_figures
    from convbench.counting.referees import compare
    from convbench.report.referees import print_referees

    figures = check_figures(network.name) if is_published else []
    published = {f"{one.source} ({one.metric})": one.published for one in figures if one.metric != "params"}
    compared = compare(network.net, network.input_shape, network.name, published)
    if show:
        print_referees(compared)
    return compared.to_dict()


def _memory(network: Network, batch_size: int, training: bool, optimiser: str, show: bool) -> dict[str, Any]:
    from convbench.counting.memory import predict_memory
    from convbench.report.memory import print_memory

    memory = predict_memory(
        network.net, network.input_shape, batch_size, training=training, optimiser=optimiser, name=network.name
    )
    if show:
        print_memory(memory)
    return memory.to_dict()


def _fits(network: Network, limit: str, training: bool, optimiser: str, show: bool) -> dict[str, Any]:
    from convbench.counting.memory import largest_batch, parse_size, predict_memory
    from convbench.report.memory import print_fits

    size = parse_size(limit)
    largest = largest_batch(network.net, network.input_shape, size, training=training, optimiser=optimiser)
    least = 2 if training else 1  # one image has no batch statistics
    memory = predict_memory(
        network.net, network.input_shape, largest or least, training=training, optimiser=optimiser, name=network.name
    )
    if show:
        print_fits(size, largest, memory)
    return {"limit_bytes": size, "batch_size": largest, "memory": memory.to_dict()}


@app.command(rich_help_panel=CHOOSE)
def measure(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="networks", help="Names, or package.module:callable that makes one.", autocompletion=networks
        ),
    ],
    batch_size: Annotated[str, typer.Option(help="Images at a time; several with commas: 1,8.")] = "1",
    engine: Annotated[
        list[str] | None, typer.Option(help="Such as openvino-bf16, or auto; may be given again. Default all.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of the one network; else they are initial ones.")] = None,
    image_size: ImageSize = None,
    layers: Annotated[bool, typer.Option("--layers", help="Time each layer, too, in eager and OpenVINO.")] = False,
    seconds: Annotated[float, typer.Option(help="Of timing for each engine and batch size.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Measure networks on this machine, by every engine that answers as eager fp32 does."""
    from convbench.bench.measure import measure_networks
    from convbench.report.measurements import print_measurements

    measured = measure_networks(
        names,
        image_size=image_size,
        engines=engine or (),
        batch_sizes=_numbers(batch_size, "--batch-size"),
        weights=weights,
        layers=layers,
        seconds=seconds,
    ).to_dict()
    print(json.dumps(measured, indent=1)) if as_json else print_measurements(measured)


@app.command(rich_help_panel=TRAIN)
def data(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A data set's name or folder, or the word check; none lists the known ones.",
            autocompletion=data_sets_and_check,
        ),
    ] = None,
    path: Annotated[
        str | None, typer.Argument(help="After the word check: whose photographs to decode.", autocompletion=data_sets)
    ] = None,
    max_bad_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of check: more bad files are an error. Default 0.001.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the data sets, open one and say what is in it, or decode all its photographs: data check PATH."""
    from convbench.report.listings import describe_data, print_data, print_data_sets

    if name == "check":
        _check_data(path, max_bad_share, data_dir, as_json)
        return
    if path is not None or max_bad_share is not None:
        raise RequestError(f"data: expected a name or folder alone, or check PATH, found {name} {path or ''}".rstrip())
    if name is None:
        print_data_sets(as_json)
        return
    from convbench.data import open_splits

    described = describe_data(open_splits(name, data_dir=data_dir))
    if as_json:
        print(json.dumps(described, indent=1))
    else:
        print_data(described)


def _check_data(path: str | None, max_bad_share: float | None, data_dir: Path | None, as_json: bool) -> None:
    from convbench.data import check_data
    from convbench.data.policy import MAX_BAD_SHARE
    from convbench.report.data_check import print_check

    if path is None:
        raise RequestError("data check: expected a folder, a name or a pattern of tar files after it, found nothing")
    limit = MAX_BAD_SHARE if max_bad_share is None else max_bad_share
    checked = check_data(path, data_dir=data_dir, max_bad_share=limit)
    print(json.dumps(checked.to_dict(), indent=1)) if as_json else print_check(checked.to_dict())
    checked.require_few_bad()


@app.command(rich_help_panel=TRAIN)
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.", autocompletion=recipes)],
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/train/RECIPE-seed-S.")] = None,
    resume: Resume = False,
    save_every: SaveEvery = 120,
    workers: Workers = None,
    tensorboard: TensorBoard = False,
    head_only: Annotated[bool, typer.Option("--head-only", help="The last layer alone learns.")] = False,
    keep: Annotated[
        str, typer.Option(help="Epochs after which the weights are kept for `explain evolution`, such as 0,1,2,5.")
    ] = "",
    judge_every: JudgeEvery = 1,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Train a network by a recipe, and evaluate it."""
    from convbench.bench.record import command_line
    from convbench.bench.train import train as train_by
    from convbench.report.listings import print_result
    from convbench.training.loop import Options
    from convbench.training.recipe import parse_settings

    folder = out or Path("runs", "train", f"{Path(recipe).stem}-seed-{seed}")
    run = train_by(
        recipe,
        out=folder,
        settings=parse_settings(settings) | ({"head_only": True} if head_only else {}),
        seed=seed,
        resume=resume,
        data_dir=data_dir,
        options=Options(
            save_every,
            workers,
            tensorboard,
            keep=tuple(_numbers(keep, "--keep")) if keep else (),
            judge_every=judge_every,
        ),
        command=command_line(),
    )
    if int(os.environ.get("RANK", "0")) > 0:
        return  # the first of torchrun's processes speaks
    if as_json:
        print(json.dumps(run.record, indent=1))
    else:
        print_result(run.record["title"], run.record["result"])
        print(f"run: {folder}")


@app.command(rich_help_panel=TRAIN)
def evaluate(
    network: Annotated[
        str,
        typer.Argument(
            help="A network's name; several with commas, one for each of the weights.", autocompletion=networks
        ),
    ],
    weights: Annotated[
        list[Path],
        typer.Option(help="Ours or another library's, or a run's folder; given again, an ensemble answers."),
    ],
    data_name: DataName,
    split: Split = "test",
    crops: Annotated[
        str, typer.Option(help="Of each image, such as ten, dense-multi-scale, googlenet-144.")
    ] = "centre",
    by_class: Annotated[
        bool, typer.Option("--per-class", help="The easiest and hardest classes, and what is taken for what.")
    ] = False,
    gallery: Annotated[Path | None, typer.Option(help="A PNG of the easiest and hardest classes to write.")] = None,
    layer: Annotated[
        str | None, typer.Option("--linear-probe", help="Train a linear classifier on this layer instead.")
    ] = None,
    probe: Annotated[str, typer.Option(help="The linear classifier: svm or logistic.")] = "svm",
    engine: Engine = "auto",
    precision: Precision = "fp32",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Evaluate a trained network as the papers do: by crops, class by class, in ensembles."""
    from convbench.bench.evaluate import evaluate_weights, probe_weights
    from convbench.report.evaluations import print_evaluation, print_probe

    if layer is not None:
        if len(weights) > 1 or crops != "centre" or by_class or gallery is not None:
            raise RequestError(
                "--linear-probe expects one --weights, and no --crops, --per-class or --gallery beside it"
            )
        probed = probe_weights(network, weights[0], data_name, layer, kind=probe, split=split, data_dir=data_dir)
        print(json.dumps(probed, indent=1)) if as_json else print_probe(probed)
        return
    result = evaluate_weights(
        *(network, weights, data_name),
        split=split,
        crops=crops,
        by_class=by_class,
        gallery=gallery,
        engine=engine,
        precision=precision,
        data_dir=data_dir,
    )
    print(json.dumps(result, indent=1)) if as_json else print_evaluation(result, gallery)


@app.command(rich_help_panel=USE)
def predict(
    images: Photographs,
    network: Annotated[str, typer.Option(help="A network's name.", autocompletion=networks)],
    weights: Annotated[Path, typer.Option(help="Ours or another library's, or a run's folder.")],
    top: Annotated[int, typer.Option(help="Answers for each image.")] = 5,
    engine: Engine = "auto",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Predict what photographs show: the most probable classes, with names."""
    from convbench.bench.predict import predict as predict_images
    from convbench.report.predictions import print_predictions

    predictions = predict_images(images, network, weights, top, engine=engine, precision=precision)
    if as_json:
        print(json.dumps([one.to_dict() for one in predictions], indent=1))
    else:
        print_predictions(predictions)


@weights_app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A file of torchvision, timm, Keras or TF-slim.")],
    network: Annotated[str, typer.Option(help="The network that it fits.", autocompletion=networks)],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    licence: Annotated[str | None, typer.Option(help="Under which the weights were published.")] = None,
    as_json: Json = False,
) -> None:
    """Write another library's weights as safetensors that say their network, source, classes and preprocessing."""
    from convbench.bench.convert import convert_weights
    from convbench.report.listings import print_conversion

    metadata = convert_weights(source, network, out, licence=licence)
    if as_json:
        print(json.dumps(metadata, indent=1))
    else:
        print_conversion(out, metadata)


@app.command(rich_help_panel=USE)
def export(
    network: NetworkName,
    to: Annotated[str, typer.Option(help="onnx, openvino or torch (torch.export).")],
    weights: Annotated[Path | None, typer.Option(help="Of a network by name; without, it is untrained.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; default the network's name, here.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Rows and columns, where no weights say them.")] = None,
    in_channels: Annotated[int | None, typer.Option(help="Channels, where no weights say them.")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="For OpenVINO; refused where it loses over 1 point of top-1.")
    ] = False,
    data_name: Annotated[
        str | None, typer.Option("--data", help="Labelled images that judge int8.", autocompletion=data_sets)
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Export a network to ONNX, OpenVINO or torch.export; the file is checked before it is there."""
    from convbench.bench.export import export as export_network
    from convbench.report.exports import print_export

    exported = export_network(
        network,
        to,
        out,
        weights=weights,
        image_size=image_size,
        in_channels=in_channels,
        int8=int8,
        data=data_name,
        data_dir=data_dir,
    ).to_dict()
    print(json.dumps(exported, indent=1)) if as_json else print_export(exported)


@app.command(rich_help_panel=CHOOSE)
def claims(
    slide: Annotated[str | None, typer.Option(help="Slides whose title contains this.")] = None,
    verdict: Annotated[str | None, typer.Option(help="right, wrong or ambiguous.")] = None,
    network: Annotated[str | None, typer.Option(help="Claims on this network.", autocompletion=networks)] = None,
    papers: Annotated[bool, typer.Option("--papers", help="The papers' own counts of our networks instead.")] = False,
    trials: Annotated[bool, typer.Option("--trials", help="What trainings here say to statements instead.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="With --trials, a folder for a PNG of each.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute every number of the lecture deck: what it says, what is so, the verdict and the reason."""
    from convbench.claims import check_claims, check_figures, read_trials
    from convbench.report.claims_listing import print_claims, print_figures

    if papers and (slide, verdict) != (None, None):
        raise RequestError("--papers shows the papers' counts: expected no --slide and no --verdict beside it")
    if trials and (slide, verdict, network, papers) != (None, None, None, False):
        raise RequestError("--trials shows all trainings: expected no --slide, --verdict, --network or --papers")
    if pictures is not None and not trials:
        raise RequestError("--pictures are of trials: expected --trials beside it")
    if trials:
        _show_trials(pictures, as_json)
        return
    if papers:
        figures = check_figures(network)
        print(json.dumps([one.to_dict() for one in figures], indent=1)) if as_json else print_figures(figures)
        return
    results = check_claims(slide=slide, verdict=verdict, network=network)
    if as_json:
        decisions = [one.to_dict() for trial in read_trials() for one in trial.decisions]
        trained = {claim.id: [one for one in decisions if one["claim"] == claim.id] for claim in results}
        print(json.dumps([one.to_dict() | {"trials": trained[one.id]} for one in results], indent=1))
    else:
        print_claims(results, trials=read_trials())


def _show_trials(pictures: Path | None, as_json: bool) -> None:
    from convbench.claims import read_trials
    from convbench.report.claims_listing import print_trials

    trials = read_trials()
    decisions = [one.to_dict() for trial in trials for one in trial.decisions]
    print(json.dumps(decisions, indent=1)) if as_json else print_trials(trials)
    if pictures is not None:
        from convbench.report.trials import write_trial_picture

        for trial in trials:
            write_trial_picture(trial, pictures / f"{trial.suite}.png")


@app.command(rich_help_panel=BENCH)
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name, or a TOML file.", autocompletion=suites)],
    only: Annotated[list[str], typer.Option(help="These runs alone; may be given again.")] = [],  # noqa: B006
    jobs: Annotated[
        int | None, typer.Option(help="Runs at a time; default one a core, one alone where there is a GPU.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="A Ray cluster that does the runs: its address, auto, or local.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="By the papers' own recipes, for those with GPUs.")] = False,
    seed: Seed = 0,
    out: Runs = Path("runs"),
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run a suite: do what is missing, go on with what was interrupted, leave what is done."""
    from convbench.bench.record import command_line
    from convbench.bench.runner import run_suite

    outcomes = run_suite(
        suite,
        out=out,
        only=tuple(only),
        jobs=jobs,
        ray=ray,
        seed=seed,
        data_dir=data_dir,
        full=full,
        command=command_line(),
        say=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )
    if as_json:
        print(json.dumps([{"name": one.name, "status": one.status, "error": one.error} for one in outcomes], indent=1))
    failed = [one for one in outcomes if one.status == "failed"]
    if failed:
        raise ConvbenchError(f"{len(failed)} of {len(outcomes)} runs failed: {', '.join(one.name for one in failed)}")


@app.command(rich_help_panel=BENCH)
def report(
    suites: Annotated[
        list[str] | None,
        typer.Argument(help="Suites to show; default all in the runs' folder.", autocompletion=suites_with_runs),
    ] = None,
    runs: Runs = Path("runs"),
    out: Annotated[Path, typer.Option(help="The folder that index.html is written to.")] = Path("report"),
    picture: Annotated[Path | None, typer.Option(help="A PNG to write a comparison's charts to, too.")] = None,
    format_: Annotated[
        str, typer.Option("--format", help="html; or the tables alone: markdown (one file), csv (a file for each).")
    ] = "html",
    as_json: Json = False,
) -> None:
    """Write the report, one HTML file that opens offline, and print the result table."""
    from convbench.report.html import write_report
    from convbench.report.picture import write_picture
    from convbench.report.records import read_suites
    from convbench.report.tables import print_suite
    from convbench.report.written import plain, write_csv, write_markdown

    shown = read_suites(runs, suites or ())
    writers: dict[str, Callable[[], list[Path]]] = {
        "html": lambda: [write_report(runs, out / "index.html", suites or ())],
        "markdown": lambda: [write_markdown(shown, out / "report.md")],
        "csv": lambda: write_csv(shown, out),
    }
    if format_ not in writers:
        raise unknown("format", format_, writers)
    written = {"report": [str(path) for path in writers[format_]()]}
    if picture is not None:
        written["picture"] = [str(write_picture(shown, picture))]
    if as_json:
        print(json.dumps(written | {"suites": plain(shown)}, indent=1))
        return
    for suite in shown:
        print_suite(suite)
    for what, paths in written.items():
        for path in paths:
            print(f"{what}: {path}")


@app.command(rich_help_panel=BENCH)
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Others than this machine's let the network in.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which browsers may ask for it; may be given again.")
    ] = None,
    runs: Runs = Path("runs"),
    weights: Annotated[
        list[str] | None,
        typer.Option(help="NETWORK=FILE to look into, beside those of the runs; may be given again."),
    ] = None,
    data_name: Annotated[
        str | None,
        typer.Option(
            "--data", help="A data set in which to look for a unit's strongest images.", autocompletion=data_sets
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the explorer on this machine: networks, photographs, digits and runs, in a browser."""
    from convbench.web.serve import parse_weights, serve_explorer

    serve_explorer(
        host=host,
        port=port,
        allowed=allow_host or [],
        runs=runs,
        weights=parse_weights(weights or []),
        data=data_name,
        data_dir=data_dir,
    )


def main() -> None:
    """The entry point: convbench's own errors are one line and their exit code, unless --debug asks for more."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _terminate)
    try:
        app(arguments, prog_name="convbench")
    except ConvbenchError as error:
        if debug:
            raise
        print(f"convbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except _Terminated:
        training = arguments[:1] == ["train"] or arguments[:2] == ["detect", "train"]
        again = "the same command with --resume" if training else "the same command"
        print(f"convbench: interrupted; what is finished is kept, {again} goes on", file=sys.stderr)
        sys.exit(1)


class _Terminated(BaseException):
    """SIGTERM or SIGINT, so that locks, workers and half-written files are cleaned up on the way out."""


def _terminate(*_: Any) -> None:
    raise _Terminated


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"{option} expects whole numbers with commas between, such as 1,8, found {text!r}") from None
