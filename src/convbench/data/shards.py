"""Photographs in WebDataset's tar files: `KEY.jpg` and `KEY.cls` side by side, read where they lie.

A tar file is scanned once for where its members are; then any photograph is read by its place, so that the order of a
training is a function of the seed, as with files in folders. Shards elsewhere are first fetched into the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import torch

from convbench.data.content import cache_folder
from convbench.data.folder import OUR_SPLIT, SPLIT_FOLDERS, SUFFIXES, PhotographSet, part_for
from convbench.data.stores import fetch, webdataset
from convbench.errors import ConvbenchError, RequestError
from convbench.files import ASIDE, make_folder
from convbench.progress import track

CLASSES = "classes.txt"  # beside the shards: line i names class i


def is_shard_pattern(name: str | Path) -> bool:
    """Whether a name stands for tar files: `train-{000..146}.tar`, `shards/*.tar`, or with https://, s3:// or gs://."""
    return isinstance(name, str) and name.endswith(".tar")


def has_shards(folder: Path) -> bool:
    """Whether there are tar files in `folder`, or in its folders of splits."""
    return bool(_tar_files(folder))


def read_shards(source: Path | str, split: str) -> PhotographSet:
    """The split ("train" or "test") of the photographs in the tar files in a folder, or of a pattern.

    A shard is for training where its name has the word train, or else its folder is called so, and for testing likewise
    with val, test, valid or validation. Where none has either, the split is ours; see `folder.part_for`.

    `KEY.cls` holds the class: its number, which is named in `classes.txt` beside the shards if that is there, or its
    name. Classes without a file of names are those of the training shards, or of all where none are for training:
    numbers without gaps where all are numbers, else sorted.

    Raises RequestError where there are no shards, or none for the split; ConvbenchError for a damaged shard, one that
    cannot be fetched, or a photograph without its class.
    """
    paths = _tar_files(source) if isinstance(source, Path) else _named_by(source)
    if not paths:
        raise RequestError(f"{source}: expected tar files, found none")
    splits = {path: _split_of(path) for path in paths}
    if set(splits.values()) == {None}:
        return part_for(split, _read(source, split, paths, (), f"{source}, {OUR_SPLIT}"))
    chosen, training = ([path for path in paths if splits[path] == one] for one in (split, "train"))
    if not chosen:
        raise RequestError(f"{source}: expected shards with {' or '.join(SPLIT_FOLDERS[split])} in a name, found none")
    return _read(source, split, chosen, training, str(source))


def _read(source: Path | str, split: str, paths: Sequence[Path], training: Sequence[Path], told: str) -> PhotographSet:
    root = Path(os.path.commonpath([path.parent for path in paths]))
    files, spans, answers = list[str](), list[tuple[int, int, int]](), list[str]()
    for number, path in enumerate(track(paths, f"looking into {source}", len(paths), "shards")):
        for member, offset, length, answer in _members(path):
            files.append(f"{path.relative_to(root)}/{member}")
            spans.append((number, offset, length))
            answers.append(answer)
    if not files:
        raise RequestError(f"{source}: expected photographs in its tar files, such as 000.jpg and 000.cls, found none")
    learnt = _answers(training) if training and training != paths else answers
    names = _names(paths[0].parent, learnt)
    number_of = {name: label for label, name in enumerate(names)} | {str(i): i for i in range(len(names))}
    strange = next((place for place, answer in enumerate(answers) if answer not in number_of), None)
    if strange is not None:
        raise ConvbenchError(
            f"{root / files[strange]}: expected one of {len(names)} classes, such as {names[0]}, "
            f"found {answers[strange]!r}"
        )
    return PhotographSet(
        name=root.name if isinstance(source, Path) else Path(source).parent.name or "shards",
        split=split,
        root=root,
        files=tuple(files),
        labels=torch.tensor([number_of[answer] for answer in answers]),
        classes=names,
        source=told,
        shards=tuple(str(path.relative_to(root)) for path in paths),
        spans=torch.tensor(spans),
    )


def _answers(paths: Sequence[Path]) -> Iterator[str]:
    """The classes that shards speak of."""
    return (answer for path in paths for *_, answer in _members(path))


def _names(folder: Path, answers: Iterable[str]) -> tuple[str, ...]:
    """Of all classes: from the file beside the shards, or as the shards call them, numbers without gaps."""
    if (folder / CLASSES).is_file():
        return tuple((folder / CLASSES).read_text().splitlines())
    found = set(answers)
    if all(answer.isdecimal() for answer in found):
        return tuple(map(str, range(max(map(int, found)) + 1)))
    return tuple(sorted(found))


def _members(path: Path) -> list[tuple[str, int, int, str]]:
    """(name, offset, bytes, class) of each photograph in a tar file, in its order."""
    photographs, answers = dict[str, tuple[str, int, int]](), dict[str, str]()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, dot, suffix = name.partition(".")  # webdataset's rule: all after the first dot
                key = f"{folder}/{key}"
                if not member.isfile() or not key or not dot:
                    continue
                if f".{suffix.lower()}" in SUFFIXES:
                    photographs[key] = (member.name, member.offset_data, member.size)
                elif suffix == "cls":
                    content = tar.extractfile(member)
                    assert content is not None
                    answers[key] = content.read().decode(errors="replace").strip()
    except (OSError, tarfile.TarError) as error:
        raise ConvbenchError(f"{path}: expected a whole tar file, not compressed, found {error}") from error
    lacking = next((photographs[key][0] for key in photographs if key not in answers), None)
    if lacking is not None:
        raise ConvbenchError(f"{path}: expected {Path(lacking).stem}.cls beside {lacking}, found none")
    return [(*found, answers[key]) for key, found in photographs.items()]


def _tar_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    places = [folder, *(folder / name for choices in SPLIT_FOLDERS.values() for name in choices)]
    return [path for place in places if place.is_dir() for path in sorted(place.glob("*.tar"))]


def _split_of(path: Path) -> str | None:
    """The split that a shard's name speaks of, or else its folder's."""
    words = re.findall("[a-z]+", path.stem.lower())
    for names in (words, [path.parent.name]):
        for split, choices in SPLIT_FOLDERS.items():
            if set(choices) & set(names):
                return split
    return None


def _named_by(pattern: str) -> list[Path]:
    """The tar files of a pattern, on this machine: found, or fetched."""
    is_elsewhere = "://" in pattern
    if "{" in pattern:
        pieces = webdataset().shardlists.expand_urls(pattern)
    else:
        pieces = [pattern] if is_elsewhere else _matching(Path(pattern).expanduser())
    if is_elsewhere:
        return [_fetch(url) for url in track(pieces, f"fetching {pattern}", len(pieces), "shards")]
    paths = [Path(piece).expanduser() for piece in pieces]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise RequestError(f"{pattern}: expected the tar file {missing}, found nothing")
    return paths


def _matching(pattern: Path) -> list[str]:
    return sorted(map(str, pattern.parent.glob(pattern.name)))


def _fetch(url: str) -> Path:
    """The shard's copy in the user's cache, fetched where it is not there; it is whole or not there."""
    place = urlsplit(url)
    home = hashlib.sha256(url.rpartition("/")[0].encode()).hexdigest()[:16]
    path = make_folder(cache_folder() / "shards" / home) / Path(place.path).name
    if path.is_file():
        return path
    aside = path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        fetch(url, aside)
        if not tarfile.is_tarfile(aside):
            raise ConvbenchError(f"{url}: expected a tar file, found something else")
        aside.replace(path)
    except (OSError, ValueError) as error:
        raise ConvbenchError(f"{url}: expected a shard that can be fetched, found {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    return path
