"""Open a data set by name or path: found on this machine or downloaded, and always verified."""

from __future__ import annotations

import http.client
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from convbench.data import idx
from convbench.data.catalogue import DATASETS
from convbench.data.cifar import read_batches
from convbench.data.content import cache_folder, data_folders, locate
from convbench.data.dataset import Dataset
from convbench.data.folder import PhotographSet
from convbench.data.imagenet import CLASSES, LABELS, imagenet_classes, is_imagenet, read_imagenet
from convbench.data.layouts import find_layout, read_photographs
from convbench.data.shards import is_shard_pattern, read_shards
from convbench.errors import RequestError, unknown
from convbench.files import make_folder

SPLITS = ("train", "test")
TABLES = (*idx.FILES["train"], *idx.FILES["test"])
BATCHES = {split: tuple(name for name, _ in files) for split, files in DATASETS["cifar10"].files.items()}
APT_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}


def open_dataset(
    name_or_path: str | Path,
    split: str,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    stored: int | None = None,
) -> Dataset:
    """A split of a data set, whole in memory.

    name_or_path: a name in `DATASETS`, or a folder that holds the four IDX files of a data set laid out like
        MNIST (raw or gzipped; also in its `MNIST/raw`), CIFAR-10's python batches, `imagenet-val`'s files, or
        photographs; see `open_photographs`
    split: `train` or `test`; `imagenet-val` has only `test`
    data_dir: the folder in which to look for a named data set first; then in the one that the environment
        variable CONVBENCH_DATA names, the user's cache (`~/.cache/convbench`), the system's folder
    download: whether a named data set that is nowhere there may be downloaded into the user's cache
    stored: of photographs in files, the pixels of a side of the squares that are kept in memory

    `digits` is embedded in scikit-learn. Its split is ours and stratified: of the images of each class, in
    the file's order, every third is for testing. Writers are not kept apart.

    Raises RequestError for an unknown name, split or folder, and where a data set is not there and cannot be
    downloaded; ConvbenchError for files that are damaged or not the official ones.

    >>> open_dataset("digits", "test").images.shape
    torch.Size([596, 1, 8, 8])
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if split not in splits_of(name_or_path):
        raise RequestError(f"{name_or_path} has no split {split!r}: nearest is {splits_of(name_or_path)[0]}")
    with _permission_told():
        if name_or_path == "digits":
            return _digits(split)
        if is_photographs(name_or_path):
            return _in_memory(open_photographs(name_or_path, split, data_dir=data_dir), stored)
        if isinstance(name_or_path, str) and name_or_path in DATASETS:
            return _open_named(name_or_path, split, data_dir, download)
        folder = Path(name_or_path).expanduser()
        if folder.is_dir():
            return _open_folder(folder, split)
    raise _no_dataset(name_or_path)


def require_dataset(name_or_path: str | Path) -> None:
    """RequestError for what is neither a data set's name, nor a pattern of shards, nor a folder that is there."""
    is_named = name_or_path == "digits" or name_or_path in DATASETS or is_shard_pattern(name_or_path)
    if not is_named and not Path(name_or_path).expanduser().is_dir():
        raise _no_dataset(name_or_path)


def open_photographs(name_or_path: str | Path, split: str, *, data_dir: Path | None = None) -> PhotographSet:
    """A split of a data set of photographs, which stay in their files.

    name_or_path: `imagenet`, `imagenette` or `stanford-dogs`; a folder in one of `layouts.LAYOUTS`: ImageNet's or
        Stanford Dogs' own, train/CLASS/ and val/CLASS/ (or test/, valid/), CLASS/ alone, which we split, or
        WebDataset's tar files; or a pattern of these, here or elsewhere, such as `https://host/{train,val}-{00..31}.tar`
    split: `train` or `test`
    data_dir: see `open_dataset`

    Raises RequestError where there are no such photographs; ConvbenchError for damaged lists and shards.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    with _permission_told():
        if is_shard_pattern(name_or_path):
            return read_shards(str(name_or_path), split)
        if isinstance(name_or_path, str) and name_or_path in DATASETS:
            return _named_photographs(name_or_path, split, data_dir)
        folder = Path(name_or_path).expanduser()
        if folder.is_dir():
            return read_photographs(folder, split)
    raise RequestError(f"expected a folder of photographs at {folder}, found {_what_is_at(folder)}")


def open_splits(
    name_or_path: str | Path, *, data_dir: Path | None = None, download: bool = True
) -> tuple[Dataset | PhotographSet, ...]:
    """Every split that the data set has, training first, photographs in their files; see `open_dataset`."""
    splits = splits_of(name_or_path)
    if is_photographs(name_or_path):
        return tuple(open_photographs(name_or_path, split, data_dir=data_dir) for split in splits)
    return tuple(open_dataset(name_or_path, split, data_dir=data_dir, download=download) for split in splits)


def is_photographs(name_or_path: str | Path) -> bool:
    """Whether a data set is photographs in files, by its name or the layout of its folder."""
    if is_shard_pattern(name_or_path):
        return True
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return DATASETS[name_or_path].in_files
    folder = Path(name_or_path).expanduser()
    return folder.is_dir() and not any(_tables_in(folder, "train")) and find_layout(folder) is not None


def splits_of(name_or_path: str | Path) -> tuple[str, ...]:
    """The splits of the data set of this name or in this folder, without opening it."""
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return DATASETS[name_or_path].splits
    if is_imagenet(Path(name_or_path).expanduser()):
        return DATASETS["imagenet-val"].splits
    return SPLITS


def _digits(split: str) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = torch.from_numpy(bunch.target).long()
    seen = torch.nn.functional.one_hot(labels).cumsum(0)  # how many of each class so far
    is_test = seen.gather(1, labels[:, None])[:, 0] % 3 == 0
    chosen = is_test if split == "test" else ~is_test
    images = torch.from_numpy(bunch.images).mul(255 / 16).round()  # stored as 0 to 16
    images = images.to(torch.uint8)[:, None]
    classes = DATASETS["digits"].classes
    return Dataset("digits", split, images[chosen], labels[chosen], classes, "scikit-learn")


def _open_named(name: str, split: str, data_dir: Path | None, download: bool) -> Dataset:
    known = DATASETS[name]
    roots = data_folders(data_dir)
    places = [root / folder for root in roots for folder in known.folders]
    if name == "imagenet-val":
        return _imagenet(next(filter(is_imagenet, places), None), roots)
    names, md5s = zip(*known.files[split], strict=True)
    files = next((found for place in places if (found := locate(place, names))), None)
    if files is None:
        missing = (
            f"{name} is not on this machine: expected {', '.join(names)} (raw or .gz) in "
            f"{' or '.join(known.folders)} of one of {', '.join(map(str, roots))}"
        )
        if not download:
            raise RequestError(f"{missing}; `convbench data {name}` downloads them")
        files = _download(name, split, missing)
    if name == "cifar10":
        images, labels = read_batches(files, md5s)
    else:
        images, labels = idx.read_labelled(files, len(known.classes), md5s)
    return Dataset(name, split, images, labels, known.classes, str(files[0].parent))


def _imagenet(folder: Path | None, roots: list[Path]) -> Dataset:
    known = DATASETS["imagenet-val"]
    if folder is None:
        side = known.shape[-1]
        raise RequestError(
            f"imagenet-val is not on this machine: expected the folder imagenet-val in one of "
            f"{', '.join(map(str, roots))}, with {LABELS} (file,class_index), {CLASSES} (line i = class i) and the "
            f"images, {side}x{side} centre crops of photographs resized to {known.shorter} on the shorter side; it "
            f"cannot be downloaded, {known.source} gives it out for research"
        )
    images, labels = read_imagenet(folder)
    return Dataset("imagenet-val", "test", images, labels, imagenet_classes(), str(folder), known.shorter)


def _named_photographs(name: str, split: str, data_dir: Path | None) -> PhotographSet:
    known = DATASETS[name]
    if not known.in_files:
        choices = ", ".join(name for name, one in DATASETS.items() if one.in_files)
        raise RequestError(
            f"{name}: expected photographs in files, found a data set for the memory; nearest: {choices}"
        )
    roots = data_folders(data_dir)
    for place in (root / folder for root in roots for folder in known.folders):
        layout = find_layout(place)
        if layout is not None and layout.is_certain:
            found = read_photographs(place, split)
            if found.classes == known.classes or (not known.classes and len(found.classes) == known.num_classes):
                return replace(found, name=name)
    raise RequestError(
        f"{name} is not on this machine: expected {' or '.join(known.folders)} in one of "
        f"{', '.join(map(str, roots))}, with its {known.num_classes:,} classes; get it from {known.source}"
    )


def _in_memory(photographs: PhotographSet, stored: int | None) -> Dataset:
    if stored is None:
        raise RequestError(
            f"{photographs.root}: expected the side in pixels at which its photographs are kept, such as stored=256"
        )
    return photographs.in_memory(stored)


@contextmanager
def _permission_told() -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise RequestError(f"{error.filename}: expected a readable folder, found no permission") from error


def _download(name: str, split: str, missing: str) -> list[Path]:
    """Download both splits through torchvision, then move the files into the cache, each of them whole."""
    import torchvision

    known = DATASETS[name]
    cache = make_folder(cache_folder())
    try:
        # Aside, so that an interrupted download leaves nothing that looks like a data set.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as aside:
            getattr(torchvision.datasets, known.torchvision)(aside, download=True)
            home = make_folder(cache / known.folders[0])
            for file, _ in (*known.files["train"], *known.files["test"]):
                (Path(aside) / known.folders[0] / file).replace(home / file)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        apt = f", or `apt install {APT_PACKAGES[name]}`" if name in APT_PACKAGES else ""
        raise RequestError(
            f"{missing}, and the download failed ({reason}); get the files from {known.source} into a folder "
            f"DIR and run `convbench data {name} --data-dir DIR`{apt}"
        ) from error
    return [home / file for file, _ in known.files[split]]


def _tables_in(folder: Path, split: str) -> tuple[list[Path] | None, list[Path] | None]:
    """CIFAR-10's files of the split and the four IDX files, where they are in a folder that the user names."""
    batches, tables = BATCHES[split], TABLES
    return (
        locate(folder, batches) or locate(folder / "cifar-10-batches-py", batches),
        locate(folder, tables) or locate(folder / "MNIST/raw", tables),
    )


def _open_folder(folder: Path, split: str) -> Dataset:
    """A data set from a folder that the user names: any in IDX files, or the official CIFAR-10."""
    if is_imagenet(folder):
        return _imagenet(folder, [])
    batch_files, idx_files = _tables_in(folder, split)
    if batch_files and idx_files:
        raise RequestError(
            f"{folder}: expected one data set, found two; nearest are {batch_files[0].parent} and {idx_files[0].parent}"
        )
    if batch_files:
        cifar10 = DATASETS["cifar10"]
        images, labels = read_batches(batch_files, [md5 for _, md5 in cifar10.files[split]])
        return Dataset("cifar10", split, images, labels, cifar10.classes, str(batch_files[0].parent))
    if idx_files:
        count = int(idx.read_idx(idx_files[1], 1).max()) + 1  # as many classes as the training labels name
        chosen = idx_files[:2] if split == "train" else idx_files[2:]
        images, labels = idx.read_labelled(chosen, count, (None, None))
        classes = tuple(map(str, range(count)))
        return Dataset(folder.resolve().name, split, images, labels, classes, str(idx_files[0].parent))
    raise RequestError(
        f"{folder}: expected {', '.join(TABLES)} (raw or .gz, here or in MNIST/raw), CIFAR-10's "
        f"{', '.join(BATCHES[split])}, imagenet-val's {LABELS} and {CLASSES}, or photographs in train/CLASS/ and "
        f"val/CLASS/, in CLASS/ alone or in tar files; found {_what_is_in(folder)}"
    )


def _no_dataset(name_or_path: str | Path) -> RequestError:
    if isinstance(name_or_path, str) and os.sep not in name_or_path:
        return unknown("data set", name_or_path, DATASETS)
    folder = Path(name_or_path).expanduser()
    return RequestError(f"expected a folder with a data set at {folder}, found {_what_is_at(folder)}")


def _what_is_at(path: Path) -> str:
    return "a file" if path.exists() else "nothing"


def _what_is_in(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "an empty folder"
