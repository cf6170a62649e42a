"""`convbench explain`: pictures of what a network has learnt and what it looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convbench.cli_options import Channels, DataDir, DataName, Engine, ImageSize, Json, NetworkName, Split
from convbench.errors import RequestError

if TYPE_CHECKING:
    from convbench.explain.figure import Figure

explain_app = typer.Typer(
    help="See what a network has learnt and what it looks at. Every command writes a picture.",
    no_args_is_help=True,
)

Photograph = Annotated[Path, typer.Argument(help="A photograph, in any format that Pillow reads.")]
Weights = Annotated[Path | None, typer.Option(help="Ours or another library's, or a run's folder.")]
Layer = Annotated[str, typer.Option(help="A layer's name, as `convbench cost NETWORK` lists them.")]
Unit = Annotated[int | None, typer.Option(help="Counted from 0; default the strongest.")]
Method = Annotated[str, typer.Option(help="deconvnet, guided (backpropagation) or gradient.")]
Units = Annotated[str, typer.Option(help="How many by chance, such as 16, or which, such as 3,17,40, or 3, for one.")]
Seed = Annotated[int, typer.Option(help="Of what is chosen by chance.")]
Mean = Annotated[
    str | None, typer.Option(help="What a module of yours has subtracted of each channel: 0.485,0.456,0.406.")
]
Std = Annotated[str | None, typer.Option(help="What it has divided by, of each channel: 0.229,0.224,0.225.")]
Out = Annotated[Path | None, typer.Option(help="The PNG to write; default named after network and command, here.")]


@explain_app.command()
def filters(
    network: NetworkName,
    weights: Weights = None,
    layer: Annotated[str | None, typer.Option(help="A convolution's name; default the first registered.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Show the filters of a convolution, each scaled by its own largest magnitude; grey is zero."""
    from convbench import explain
    from convbench.bench.explain import open_subject

    file = _picture(out, _default(network, "filters"))
    found = explain.filters(open_subject(network, weights).net, layer)
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def activations(
    network: NetworkName,
    image: Photograph,
    layer: Layer,
    weights: Weights = None,
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Show all maps of a layer for one image, each from black, its least, to white, its greatest value."""
    from convbench import explain
    from convbench.bench.explain import open_subject, prepare_image

    file = _picture(out, _default(network, "activations"))
    loaded = open_subject(network, weights, **_reading(image_size, in_channels, mean, std))
    found = explain.activations(loaded.net, prepare_image(loaded, image), layer)
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def deconvnet(
    network: NetworkName,
    image: Photograph,
    layer: Layer,
    weights: Weights = None,
    unit: Unit = None,
    position: Annotated[str | None, typer.Option(help="ROW,COLUMN in the map; default where it is strongest.")] = None,
    method: Method = "deconvnet",
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Show what made one unit answer: its activation projected down to the pixels."""
    from convbench import explain
    from convbench.bench.explain import open_subject, prepare_image

    place = None if position is None else _position(position)
    file = _picture(out, _default(network, method))
    loaded = open_subject(network, weights, **_reading(image_size, in_channels, mean, std))
    found = explain.deconvnet(loaded.net, prepare_image(loaded, image), layer, unit, place, method=method)  # type: ignore[arg-type]
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def occlusion(
    network: NetworkName,
    image: Photograph,
    weights: Weights = None,
    layer: Annotated[str | None, typer.Option(help="Of which a unit is watched, too.")] = None,
    unit: Unit = None,
    target: Annotated[int | None, typer.Option(help="The class, from 0; default the most probable.")] = None,
    square: Annotated[int | None, typer.Option(help="Pixels of a side; default a fifth of the image's.")] = None,
    steps: Annotated[int, typer.Option(help="Places along each side.")] = 14,
    engine: Engine = "auto",
    precision: Annotated[str, typer.Option(help="The lowest that auto may take: fp32 or bf16.")] = "fp32",
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Show what the network answers when a grey square covers a part of the image."""
    from convbench import explain
    from convbench.bench.explain import grey_of, open_subject, prepare_image

    file = _picture(out, _default(network, "occlusion"))
    loaded = open_subject(network, weights, **_reading(image_size, in_channels, mean, std))
    found = explain.occlusion(
        *(loaded.net, prepare_image(loaded, image), layer, unit),
        target=target,
        square=square,
        steps=steps,
        grey=grey_of(loaded),
        classes=loaded.classes,
        engine=engine,
        precision=precision,
    )
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def sanity(
    network: NetworkName,
    image: Photograph,
    layer: Layer,
    weights: Weights = None,
    unit: Unit = None,
    method: Method = "deconvnet",
    seed: Seed = 0,
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Check whether a projection depends on what was learnt: weights made random from the layer down."""
    from convbench import explain
    from convbench.bench.explain import open_subject, prepare_image

    file = _picture(out, _default(network, "sanity"))
    loaded = open_subject(network, weights, **_reading(image_size, in_channels, mean, std))
    found = explain.sanity(loaded.net, prepare_image(loaded, image), layer, unit, method=method, seed=seed)  # type: ignore[arg-type]
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def invariance(
    network: NetworkName,
    image: Photograph,
    layers: Annotated[str, typer.Option(help="With commas between, such as pool1,relu7.")],
    weights: Weights = None,
    change: Annotated[str, typer.Option(help="translation, scale or rotation.")] = "translation",
    amounts: Annotated[
        str | None,
        typer.Option(
            help="Of the change, with commas between: pixels to the right, times or degrees; default by CHANGE."
        ),
    ] = None,
    target: Annotated[int | None, typer.Option(help="The class, from 0; default the most probable.")] = None,
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Check how far features and answer move when the image is moved, enlarged or turned."""
    from convbench import explain
    from convbench.bench.explain import open_subject, prepare_image

    file = _picture(out, _default(network, change))
    chosen = None if amounts is None else _numbers(amounts, "--amounts")
    loaded = open_subject(network, weights, **_reading(image_size, in_channels, mean, std))
    found = explain.invariance(
        *(loaded.net, prepare_image(loaded, image), layers.split(","), change, chosen),
        target=target,
        classes=loaded.classes,
    )
    _finish(found.to_dict(), found.figure, file, as_json)


@explain_app.command()
def top9(
    network: NetworkName,
    data_name: DataName,
    layers: Annotated[str, typer.Option(help="With commas between, such as relu1,relu3.")],
    weights: Weights = None,
    units: Units = "16",
    split: Split = "test",
    method: Method = "deconvnet",
    seed: Seed = 0,
    engine: Engine = "auto",
    image_size: ImageSize = None,
    in_channels: Channels = None,
    mean: Mean = None,
    std: Std = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder; default explain/top9 in the run's, or NETWORK-top9 here.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Find the nine images at which units are strongest; a second call finds them kept."""
    from convbench.bench.top9 import KEPT
    from convbench.bench.top9 import top9 as top9_of

    in_run = weights is not None and weights.is_dir()
    folder = out or (weights / KEPT if in_run and weights else Path(f"{_plain(network)}-top9"))
    found = top9_of(
        *(network, weights, data_name, layers.split(","), _units(units), folder),
        split=split,
        method=method,  # type: ignore[arg-type]
        seed=seed,
        engine=engine,
        data_dir=data_dir,
        **_reading(image_size, in_channels, mean, std),
    )
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for picture in found["pictures"]:
            print(f"picture: {folder / picture}")


@explain_app.command()
def evolution(
    run: Annotated[Path, typer.Argument(help="The folder of a run that was trained with --keep.")],
    layer: Layer,
    units: Units = "8",
    images: Annotated[int, typer.Option(min=1, help="So many of the data set are looked at.")] = 1000,
    split: Split = "test",
    method: Method = "deconvnet",
    seed: Seed = 0,
    out: Out = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Follow units' strongest projections over the checkpoints of a training."""
    from convbench.bench.explain import evolution as evolution_of

    file = _picture(out, run / "explain" / f"evolution-{layer}.png")
    found = evolution_of(
        *(run, layer, _units(units)),
        images=images,
        split=split,
        method=method,  # type: ignore[arg-type]
        seed=seed,
        data_dir=data_dir,
    )
    _finish(found.to_dict(), found.figure, file, as_json)


def _finish(values: dict[str, Any], figure: Figure, out: Path, as_json: bool) -> None:
    """Write the picture and say so."""
    file = figure.save(out)
    if as_json:
        print(json.dumps({**values, "picture": str(file)}, indent=1))
    else:
        print(figure.title)
        print(f"picture: {file}")


def _picture(out: Path | None, default: Path) -> Path:
    """Where the picture goes; RequestError for an `out` that cannot be, before there is a picture."""
    if out is None:
        return default
    from convbench.explain.figure import require_picture

    return require_picture(out)


def _default(network: str, what: str) -> Path:
    return Path(f"{_plain(network)}-{what}.png")


def _reading(image_size: int | None, in_channels: int | None, mean: str | None, std: str | None) -> dict[str, Any]:
    """What the options say of how images are prepared, as `open_subject` takes it."""
    scales = {
        name: None if text is None else _numbers(text, f"--{name}") for name, text in (("mean", mean), ("std", std))
    }
    return {"image_size": image_size, "in_channels": in_channels, **scales}


def _plain(network: str) -> str:
    """A name that a file can have."""
    return network.replace(":", ".").replace("/", ".")


def _units(text: str) -> int | list[int]:
    numbers = _whole_numbers(text.removesuffix(","), "--units")
    return numbers if "," in text else numbers[0]


def _position(text: str) -> tuple[int, int]:
    numbers = _whole_numbers(text, "--position")
    if len(numbers) != 2:
        raise RequestError(f"--position expects ROW,COLUMN, such as 3,5, found {text!r}")
    return numbers[0], numbers[1]


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(
            f"{option} expects whole numbers with commas between, such as 3,17, found {text!r}"
        ) from None


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"{option} expects numbers with commas between, such as 0.5,1, found {text!r}") from None
