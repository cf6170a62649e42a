"""Run a suite: what is missing is done, what was interrupted goes on, what is done is left."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from convbench.bench.cluster import Cluster
from convbench.bench.execute import execute, open_both, resolve_recipe
from convbench.bench.profile import describe_profile, full_spec, profile
from convbench.bench.profile_detector import describe_detector, profile_detector
from convbench.bench.store import RunFolder
from convbench.bench.suite import Compared, DetectorSpec, NetworkSpec, RunSpec, Suite, open_full_suite, open_suite
from convbench.bench.trial import make_trial, write_trial
from convbench.claims.challenge import read_challenge
from convbench.claims.trials import Trial, describe_decision
from convbench.errors import ConvbenchError, RequestError, unknown
from convbench.files import make_folder, write_json
from convbench.progress import progress
from convbench.training.recipe import Recipe, parse_recipe
from convbench.workers import serve_parent


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "done" now, "kept" from before, or "failed" with a line."""

    name: str
    status: str
    record: dict[str, Any] | None = None
    error: str | None = None


def run_suite(
    name_or_path: str | Path,
    *,
    out: Path = Path("runs"),
    only: tuple[str, ...] = (),
    jobs: int | None = 1,
    ray: str | None = None,
    seed: int = 0,
    data_dir: Path | None = None,
    full: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Do every run of a suite that is not done yet, below `out`/<suite>/.

    Args:
        only: these runs, by the names of their folders; all by default
        jobs: runs at a time, each in a process of its own that writes its progress to log.txt in its folder; the
            networks of a comparison are measured here, one after the other, because two at once disturb each other;
            None: one a core, or a GPU, of this machine or of the cluster
        ray: the address of a Ray cluster whose machines do the runs that learn; see `bench.cluster`
        seed: of every run; where the suite asks for several, the first
        full: by the papers' own recipes, below `out`/<suite>-full/
        say: gets a line when a run starts or ends

    Returns the outcomes in the suite's order. A run that fails does not stop the others.
    """
    suite_name, suite = open_full_suite(name_or_path) if full else open_suite(name_or_path)
    seeds = {run.name: seed + number for run, number in suite.seeded()}
    every: list[RunSpec | Compared] = [*(run for run, _ in suite.seeded()), *suite.compared]
    known = [run.name for run in every]
    for name in only:
        if name not in known:
            raise unknown(f"run of {suite_name}", name, known)
    if jobs is not None and jobs < 1:
        raise RequestError(f"jobs must be 1 or more, found {jobs}")
    at_a_time = jobs or default_jobs()
    root, outcomes = out / suite_name, dict[str, Outcome]()
    learning, measuring = list[RunSpec](), list[Compared]()
    wanted = [run for run in every if not only or run.name in only]
    for run in wanted:
        record = RunFolder(root / run.name).read_record()
        if record is not None and record["status"] == "done":
            if not is_same(record, suite, run, seeds.get(run.name, seed)):
                raise RequestError(f"{root / run.name} was run with other settings: take another --out, or delete it")
            outcomes[run.name] = Outcome(run.name, "kept", record)
        elif isinstance(run, RunSpec):
            learning.append(run)
        else:
            measuring.append(run)
    write_json(make_folder(root) / "suite.json", describe_suite(suite))
    if outcomes:
        say(f"{len(outcomes)} of {len(wanted)} runs are done already")

    def arguments(run: RunSpec | Compared) -> tuple[Any, ...]:
        return suite_name, suite, run, root / run.name, seeds.get(run.name, seed), data_dir, command

    one_by_one: list[RunSpec | Compared] = [*measuring]
    if at_a_time == 1 and ray is None:
        one_by_one = [*learning, *measuring]
    elif learning:
        pool = _Processes(at_a_time) if ray is None else Cluster(ray, jobs)
        _run_side_by_side(suite_name, learning, pool, arguments, outcomes, say)
    if at_a_time > 1 and len(measuring) > 1:
        say(f"measuring one network at a time, not {at_a_time}: side by side they would disturb each other")
    for number, run in enumerate(one_by_one, start=1):
        say(f"[{number}/{len(one_by_one)}] {run.title}")
        outcomes[run.name] = outcome_of(run, lambda run=run: do(*arguments(run)))  # type: ignore[misc]
        say(describe_outcome(run, outcomes[run.name]))
    open_both.cache_clear()
    trial = make_trial(suite_name, suite, root) if suite.statements else None
    if trial is not None:
        write_trial(trial, root)
        write_json(root / "suite.json", describe_suite(suite, trial))
        for decision in trial.decisions:
            say(describe_decision(decision))
    return [outcomes[run.name] for run in wanted]


def describe_suite(suite: Suite, trial: Trial | None = None) -> dict[str, Any]:
    """What suite.json says to a report: title, claim, the runs that there should be, the challenge where asked for.

    trial: of the runs that are done, by which the suite's statements are decided
    """
    runs = [run.name for run in (*(run for run, _ in suite.seeded()), *suite.compared)]
    challenge = [asdict(one) for one in read_challenge()] if suite.challenge else []
    decisions = [one.to_dict() for one in trial.decisions] if trial else []
    about = {"title": suite.title, "claim": suite.description, "runs": runs}
    return about | {"challenge": challenge, "decisions": decisions}


def default_jobs() -> int:
    """A core each; where there is a GPU, one at a time has it."""
    return 1 if torch.cuda.is_available() else os.cpu_count() or 1


def is_same(record: dict[str, Any], suite: Suite, run: RunSpec | Compared, seed: int) -> bool:
    """Whether a record is of this very run: the same settings, recipe and seed."""
    if not isinstance(run, RunSpec):
        return bool((record["spec"], record["seed"]) == (plain(full_spec(suite, run)), seed))
    same = (record["spec"], record["seed"]) == (plain(asdict(run)), seed)
    return same and recorded_recipe(record) == resolve_recipe(suite, run)


def recorded_recipe(record: dict[str, Any]) -> Recipe | None:
    """The recipe of a record; what recipes have learnt to say since then has its default."""
    return None if record["recipe"] is None else parse_recipe(record["recipe"])


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as a record holds them, after a trip through JSON."""
    read_back: dict[str, Any] = json.loads(json.dumps(settings))
    return read_back


def do(
    suite_name: str,
    suite: Suite,
    run: RunSpec | Compared,
    path: Path,
    seed: int,
    data_dir: Path | None,
    command: str,
) -> dict[str, Any]:
    """One run, under its folder's lock."""
    folder = RunFolder(path)
    with folder.lock():
        if isinstance(run, NetworkSpec):
            return profile(suite_name, suite, run, folder, seed=seed, command=command)
        if isinstance(run, DetectorSpec):
            return profile_detector(suite_name, suite, run, folder, seed=seed, command=command)
        return execute(
            *(suite_name, suite, run, folder),
            recipe=resolve_recipe(suite, run),
            seed=seed,
            data_dir=data_dir,
            command=command,
        )


def outcome_of(run: RunSpec | Compared, work: Callable[[], dict[str, Any]]) -> Outcome:
    """The outcome of `work`; convbench's own errors become a line, all others are defects and go on up."""
    try:
        return Outcome(run.name, "done", work())
    except ConvbenchError as error:
        return Outcome(run.name, "failed", error=str(error))


def describe_outcome(run: RunSpec | Compared, outcome: Outcome) -> str:
    """A line for people."""
    if outcome.record is None:
        return f"    {run.title}: failed: {outcome.error}"
    if isinstance(run, NetworkSpec):
        return f"    {run.title}: {describe_profile(outcome.record['profile'])}"
    if isinstance(run, DetectorSpec):
        return f"    {run.title}: {describe_detector(outcome.record['detector'])}"
    result, seconds = outcome.record["result"], outcome.record["seconds"]
    low, high = result["interval"]
    return (
        f"    {run.title}: {result['top1_error']:.2f} % error ({low:.2f} to {high:.2f}),"
        f" trained {seconds['train']:.0f} s, scored {seconds['evaluate']:.0f} s"
    )


def _run_side_by_side(
    suite_name: str,
    todo: list[RunSpec],
    pool: _Processes | Cluster,
    arguments: Callable[[RunSpec], tuple[Any, ...]],
    outcomes: dict[str, Outcome],
    say: Callable[[str], None],
) -> None:
    """Keep the pool busy; a run that reads another's features starts after that one."""
    waiting, running = list(todo), dict[Future[Outcome], RunSpec]()
    began, total = time.monotonic(), len(todo)
    try:
        with progress(suite_name, len(todo), "runs") as bar:
            while waiting or running:
                pending = {run.name for run in [*waiting, *running.values()]}
                ready = [run for run in waiting if run.features is None or run.features.run not in pending]
                for run in ready[: pool.jobs - len(running)]:
                    waiting.remove(run)
                    make_folder(arguments(run)[3])
                    running[pool.submit(_work, Path.cwd(), arguments(run))] = run
                    say(f"[{total - len(waiting)}/{total}] {run.title}")
                for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                    run = running.pop(future)
                    outcomes[run.name] = future.result()
                    minutes = (time.monotonic() - began) / 60
                    say(f"{describe_outcome(run, outcomes[run.name])}; {minutes:.0f} min so far")
                    bar.advance()
                bar.note("\n".join(_last_line(arguments(run)[3] / "log.txt") for run in running.values()))
    finally:
        pool.close()


class _Processes:
    """`jobs` processes of this machine, each with its share of the cores."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self._threads = jobs, max(1, (os.cpu_count() or 1) // jobs)
        self._others = set(multiprocessing.active_children())
        with _thread_limit(self._threads):
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(jobs, spawn, initializer=_start_worker, initargs=(self._threads,))

    def submit(self, work: Callable[..., Outcome], *arguments: Any) -> Future[Outcome]:
        with _thread_limit(self._threads):
            return self._pool.submit(work, *arguments)

    def close(self) -> None:
        for process in set(multiprocessing.active_children()) - self._others:
            process.terminate()  # at work after an interruption, idle after the end
        self._pool.shutdown(cancel_futures=True)


def _last_line(log: Path) -> str:
    """How far a run is, as it said itself; nothing before its first line."""
    lines = log.read_text().splitlines() if log.exists() else []
    return lines[-1].partition(" epoch ")[0] if lines else ""


@contextlib.contextmanager
def _thread_limit(threads: int) -> Any:
    """Environment under which new processes start: libraries read it when they are first loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _start_worker(threads: int) -> None:
    serve_parent()
    torch.set_num_threads(threads)


def _work(folder: Path, arguments: tuple[Any, ...]) -> Outcome:
    """A run in a process of its own, here or on another machine, which must see `folder` to find what it needs."""
    run, path = arguments[2], arguments[3]
    try:
        os.chdir(folder)
    except OSError:
        return Outcome(run.name, "failed", error=f"{platform.node()}: expected the shared folder {folder}, found none")
    with (path / "log.txt").open("a", buffering=1) as log, contextlib.redirect_stderr(log):
        return outcome_of(run, lambda: do(*arguments))
