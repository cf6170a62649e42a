"""Networks that were costed and measured, compared: who is on the Pareto front, in which order, and in what words.

Only errors of one protocol are compared. A network whose published error has another (its `mark` says which) is shown
beside the others, but is on no front and moves no other off it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from convbench.report.findings import PERCENT
from convbench.report.profiles import Cell, Profile, Timed, median
from convbench.report.records import Record
from convbench.report.results import Published

BUSY = 5.0  # percent of other work on the machine from which on times are doubtful


@dataclass(frozen=True)
class Entry:
    """One network.

    error: published top-1, percent
    fastest, eager: for one image; batched: the fastest engine's for the largest batch
    rank: 1 for a network that no other beats in both error and multiply-adds, 2 for one that only those beat, and so
        on; None where the error's protocol is another
    front, fast_front: whether it is on the Pareto front of error and multiply-adds, of error and latency
    """

    record: Record
    profile: Profile
    published: Published
    error: float
    fastest: Timed | None
    eager: Timed | None
    batched: Timed | None
    rank: int | None = None
    fast_front: bool = False

    @property
    def title(self) -> str:
        return self.record.title

    @property
    def macs(self) -> int:
        return self.profile.counts.macs

    @property
    def params(self) -> int:
        return self.profile.counts.params

    @property
    def latency_ms(self) -> float | None:
        """Of one image by the fastest engine, the median; None where nothing was timed."""
        return median(self.fastest) if self.fastest else None

    @property
    def front(self) -> bool:
        return self.rank == 1


def compare(records: Iterable[Record]) -> list[Entry]:
    """The networks of `records`, most efficient first.

    Those of rank 1 come first, then of rank 2, and so on, last those of another protocol; within a rank by their
    multiply-adds.
    """
    entries = [_entry(record) for record in records if record.profile]
    alike = [one for one in entries if not one.published.mark]
    timed = [one for one in alike if one.latency_ms]
    ranks = dict(zip(_names(alike), rank([(one.macs, one.error) for one in alike]), strict=True))
    by_time = dict(zip(_names(timed), rank([(one.latency_ms or 0, one.error) for one in timed]), strict=True))
    ranked = [
        replace(one, rank=ranks.get(one.record.name), fast_front=by_time.get(one.record.name) == 1) for one in entries
    ]
    return sorted(ranked, key=lambda one: (one.rank is None, one.rank or 0, one.macs, one.title))


def rank(points: Sequence[tuple[float, float]]) -> list[int]:
    """The Pareto rank of each point, where less is better in both coordinates.

    >>> rank([(1, 9), (2, 5), (3, 5), (3, 6)])
    [1, 1, 2, 3]
    """
    ranks, left, current = [0] * len(points), set(range(len(points))), 1
    while left:
        front = {i for i in left if not any(beats(points[j], points[i]) for j in left)}
        for i in front:
            ranks[i] = current
        left, current = left - front, current + 1
    return ranks


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def findings(entries: Sequence[Entry]) -> list[str]:
    """Sentences on the networks, the chief one first."""
    alike = [one for one in entries if one.rank is not None]
    front = sorted((one for one in alike if one.front), key=lambda one: one.macs)
    if not front:
        return []
    sentences = [
        f"Of {len(alike)} networks with an error by the same protocol, {len(front)} are on the Pareto front: no other "
        "errs less for as few multiply-adds.",
        f"From the cheapest, they are {_these(front)}.",
    ]
    beaten = max((one for one in alike if not one.front), key=lambda one: one.macs, default=None)
    if beaten:
        better = next(one for one in front if beats((one.macs, one.error), (beaten.macs, beaten.error)))
        sentences.append(
            f"{beaten.title} is not among them: it errs on {_told(beaten)} multiply-adds, {better.title} on "
            f"{_told(better)}."
        )
    fast = sorted((one for one in alike if one.fast_front), key=lambda one: one.latency_ms or 0)
    if fast:
        new, gone = [one for one in fast if not one.front], [one for one in front if not one.fast_front]
        moves = [f"with {_these(new)}"] if new else []
        moves += [f"without {_these(gone)}"] if gone else []
        sentences.append(
            f"By the latency measured here, the front is the same{', ' * bool(moves)}{' and '.join(moves)}."
        )
    timed = [one for one in entries if one.latency_ms]
    if len(timed) > 1:
        slow, quick = min(timed, key=_speed), max(timed, key=_speed)
        sentences.append(
            f"Operations are not time: {quick.title} does {_speed(quick):.0f}G multiply-adds a second here, "
            f"{slow.title} {_speed(slow):.0f}G."
        )
    return sentences


def other_work(entries: Iterable[Entry]) -> float | None:
    """Percent of the machine that other work took at most while a network was measured, where it is worth a warning."""
    most = max((one.profile.measurements.machine.load.other or 0.0 for one in entries), default=0.0)
    return most if most > BUSY else None


def wrong_cells(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """(what the deck says, what is so) of each of its numbers that is wrong, once each."""
    cells = {cell.says: cell for one in entries for cell in one.profile.deck if cell.verdict == "wrong"}
    return [(f"{cell.says}: {cell.deck}", explain(cell)) for cell in cells.values()]


def explain(cell: Cell) -> str:
    """The truth about a number of the deck, and the reason, which may begin with it."""
    return cell.reason if cell.reason.startswith(cell.truth) else f"{cell.truth}: {cell.reason}"


def _entry(record: Record) -> Entry:
    profile, published = record.profile, record.published
    assert profile is not None and published is not None and published.error is not None, record.name
    largest = max((one.batch_size for one in profile.measurements.results), default=1)
    return Entry(
        record=record,
        profile=profile,
        published=published,
        error=published.error,
        fastest=profile.measurements.fastest(1),
        eager=profile.measurements.eager(1),
        batched=profile.measurements.fastest(largest) if largest > 1 else None,
    )


def _names(entries: Iterable[Entry]) -> list[str]:
    return [one.record.name for one in entries]


def _speed(entry: Entry) -> float:
    """Multiply-adds in 10^9 a second."""
    return entry.macs / (entry.latency_ms or 1) / 1e6


def _told(entry: Entry) -> str:
    return f"{entry.error:.1f}{PERCENT} for {entry.macs / 1e9:.2f}G"


def _these(entries: Sequence[Entry]) -> str:
    titles = [one.title for one in entries]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"
