"""Look at every photograph of a data set before a long training does: what is there, and what is wrong with it."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

import torch

from convbench.data.datasets import SPLITS, open_photographs
from convbench.data.folder import SUFFIXES, PhotographSet, all_files
from convbench.data.policy import MAX_BAD_SHARE, BadFile, Inspected, bad_file, inspect, require_few
from convbench.errors import ConvbenchError, RequestError
from convbench.progress import progress

CHUNK = 64  # files that a process takes at a time
ALONE = 512  # files for which starting processes takes longer than looking at them
BUCKETS = (64, 128, 192, 256, 320, 384, 512, 768, 1024)  # of the histogram: pixels of the shorter side


@dataclass(frozen=True)
class SplitCheck:
    """What was found in a split.

    n: photographs that the lists or folders name, bad ones among them
    per_class: name -> how many of these
    bad, odd: the files that cannot be used; and way -> how many can, though they are odd; see `policy`
    shorter: "from-to" pixels of the shorter side -> how many photographs
    median_megapixels, largest_megapixels, largest: of the readable ones, and the largest's file; None without any
    """

    n: int
    source: str
    fingerprint: str
    per_class: dict[str, int]
    bad: tuple[BadFile, ...]
    odd: dict[str, int]
    shorter: dict[str, int]
    median_megapixels: float | None
    largest_megapixels: float | None
    largest: str | None

    @property
    def balance(self) -> float | None:
        """Photographs of the largest class for each of the smallest; None where a class has none."""
        fewest, most = min(self.per_class.values()), max(self.per_class.values())
        return most / fewest if fewest else None


@dataclass(frozen=True)
class Copies:
    """Photographs whose decoded pixels are equal, whatever their files are called and however they are compressed.

    files: `split/name` of each
    splits, classes: that they are in, sorted; more than one split is a leak, more than one class a contradiction
    """

    files: tuple[str, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class DataCheck:
    """What `check_data` found.

    splits: by their names
    others: suffix -> how many files lie beside the photographs; they are not looked at
    """

    name: str
    splits: dict[str, SplitCheck]
    copies: tuple[Copies, ...]
    others: dict[str, int]
    max_bad_share: float

    @property
    def leaks(self) -> tuple[Copies, ...]:
        """Copies of which a network would learn one and be tested on another."""
        return tuple(one for one in self.copies if len(one.splits) > 1)

    @property
    def contradictions(self) -> tuple[Copies, ...]:
        """Copies in different classes."""
        return tuple(one for one in self.copies if len(one.classes) > 1)

    def require_few_bad(self) -> None:
        """ConvbenchError where more than `max_bad_share` of a split is bad."""
        for name, split in self.splits.items():
            require_few(split.bad, split.n, f"{self.name} {name}", self.max_bad_share)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        for name, split in self.splits.items():
            plain["splits"][name]["balance"] = split.balance
        return plain | {"leaks": len(self.leaks), "contradictions": len(self.contradictions)}


def check_data(
    name_or_path: str | Path,
    *,
    data_dir: Path | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    workers: int | None = None,
) -> DataCheck:
    """Decode every photograph of a data set, and tell what is there and what is wrong.

    name_or_path, data_dir: see `open_photographs`
    max_bad_share: kept for `require_few_bad`; what is found is returned, however bad it is
    workers: processes that decode; default one a core, none for few files. A script that asks for them needs the
        usual `if __name__ == "__main__"`.

    Raises RequestError where there are no photographs; ConvbenchError where a process of ours is killed.
    """
    if not 0 <= max_bad_share <= 1:
        raise RequestError(f"max_bad_share: expected a share from 0 to 1, found {max_bad_share}")
    sets = tuple(open_photographs(name_or_path, split, data_dir=data_dir) for split in SPLITS)
    total = sum(map(len, sets))
    if workers is None:
        workers = 0 if total <= ALONE else os.cpu_count() or 1
    found = dict[tuple[int, int], Inspected | BadFile]()
    with progress(f"checking {sets[0].name}", total, "images") as bar:
        bad = 0
        for chunk in _inspected(sets, workers):
            found.update(chunk)
            bar.advance(len(chunk))
            bad += sum(isinstance(one, BadFile) for _, one in chunk)
            bar.note(f"{bad:,} bad" if bad else "")
    splits = {}
    for number, photographs in enumerate(sets):
        splits[photographs.split] = _summary(photographs, [found[number, i] for i in range(len(photographs))])
    return DataCheck(sets[0].name, splits, _copies(sets, found), _others(sets), max_bad_share)


Chunk = list[tuple[tuple[int, int], Inspected | BadFile]]  # ((place of the set, of the photograph), what it is)


def _inspected(sets: tuple[PhotographSet, ...], workers: int) -> Iterator[Chunk]:
    """What is known of all photographs, a chunk after the other."""
    chunks = [
        (number, start, min(start + CHUNK, len(photographs)))
        for number, photographs in enumerate(sets)
        for start in range(0, len(photographs), CHUNK)
    ]
    if not workers:
        yield from (_inspect_chunk(sets, chunk) for chunk in chunks)
        return
    spawning = multiprocessing.get_context("spawn")  # a forked process would share torch's threads, which hang
    pool = ProcessPoolExecutor(workers, mp_context=spawning, initializer=_begin, initargs=(sets,))
    try:
        answers = pool.map(_inspect_in_process, chunks)
        for number, start, stop in chunks:
            try:
                inspected = next(answers)
            except BrokenProcessPool as error:
                first, last = sets[number].files[start], sets[number].files[stop - 1]
                raise ConvbenchError(
                    f"{sets[number].root}: expected decoders that survive every file in the memory there is, found a "
                    f"process killed on {first} to {last}, or soon after"
                ) from error
            yield inspected
    finally:
        pool.shutdown(cancel_futures=True)


_SETS: tuple[PhotographSet, ...] = ()  # of a process, which gets them once


def _begin(sets: tuple[PhotographSet, ...]) -> None:
    global _SETS
    _SETS = sets
    torch.set_num_threads(1)


def _inspect_in_process(chunk: tuple[int, int, int]) -> Chunk:
    return _inspect_chunk(_SETS, chunk)


def _inspect_chunk(sets: Sequence[PhotographSet], chunk: tuple[int, int, int]) -> Chunk:
    number, start, stop = chunk
    photographs = sets[number]
    return [((number, i), _inspect_one(photographs, i)) for i in range(start, stop)]


def _inspect_one(photographs: PhotographSet, i: int) -> Inspected | BadFile:
    try:
        return inspect(photographs.open(i))
    except ConvbenchError as error:
        return bad_file(str(photographs.root / photographs.files[i]), error)


def _summary(photographs: PhotographSet, found: Sequence[Inspected | BadFile]) -> SplitCheck:
    good = {file: one for file, one in zip(photographs.files, found, strict=True) if isinstance(one, Inspected)}
    sizes = {file: one.height * one.width / 1e6 for file, one in good.items()}
    largest = max(sizes, key=lambda file: sizes[file], default=None)
    count = photographs.labels.bincount(minlength=len(photographs.classes)).tolist()
    return SplitCheck(
        n=len(photographs),
        source=photographs.source,
        fingerprint=photographs.fingerprint,
        per_class=dict(zip(photographs.classes, count, strict=True)),
        bad=tuple(one for one in found if isinstance(one, BadFile)),
        odd=dict(Counter(way for one in good.values() for way in one.odd).most_common()),
        shorter=_histogram([min(one.height, one.width) for one in good.values()]),
        median_megapixels=sorted(sizes.values())[len(sizes) // 2] if sizes else None,
        largest_megapixels=sizes[largest] if largest else None,
        largest=largest,
    )


def _histogram(pixels: Sequence[int]) -> dict[str, int]:
    """Label of the bucket -> how many, from the first to the last bucket that has any."""
    edges = (1, *BUCKETS, math.inf)
    counts = {}
    for low, high in pairwise(edges):
        label = f"{low}-{high - 1}" if high < math.inf else f"{low} or more"
        counts[label] = sum(low <= one < high for one in pixels)
    filled = [place for place, count in enumerate(counts.values()) if count]
    return dict(list(counts.items())[filled[0] : filled[-1] + 1]) if filled else {}


def _others(sets: Sequence[PhotographSet]) -> dict[str, int]:
    """Suffix -> how many files that are not named as images are lie among those that are."""
    names = (name for root in {one.root for one in sets if not one.shards} for _, name in all_files(root, ""))
    suffixes = (PurePath(name).suffix for name in names if not name.lower().endswith(SUFFIXES))
    return dict(Counter(suffix or "none" for suffix in suffixes).most_common())


def _copies(sets: Sequence[PhotographSet], found: dict[tuple[int, int], Inspected | BadFile]) -> tuple[Copies, ...]:
    """Groups of equal photographs: leaks first, then contradictions, then the others."""
    places = defaultdict[bytes, list[tuple[int, int]]](list)
    for place, one in found.items():
        if isinstance(one, Inspected):
            places[one.digest].append(place)
    groups = []
    for group in places.values():
        if len(group) > 1:
            parts = [(sets[number], i) for number, i in sorted(group)]
            groups.append(
                Copies(
                    tuple(f"{part.split}/{part.files[i]}" for part, i in parts),
                    tuple(sorted({part.split for part, _ in parts})),
                    tuple(sorted({part.classes[int(part.labels[i])] for part, i in parts})),
                )
            )
    return tuple(sorted(groups, key=lambda one: (len(one.splits) < 2, len(one.classes) < 2, one.files)))
