"""Train one network by a recipe: a run of its own, outside of any suite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from convbench.bench.execute import build_for, execute, open_both, train_network
from convbench.bench.store import RunFolder
from convbench.bench.suite import RunSpec, Suite
from convbench.data import Preprocessing
from convbench.errors import RequestError
from convbench.notebook import facts, interval
from convbench.training.loop import Options
from convbench.training.processes import joined_processes
from convbench.training.recipe import Recipe, open_recipe
from convbench.weights import load_weights


@dataclass(frozen=True)
class Run:
    """A finished training: its folder, its record (docs/design.md), the trained network and its preprocessing."""

    folder: Path
    record: dict[str, Any]
    network: nn.Module
    preprocessing: Preprocessing

    @property
    def top1_error(self) -> float:
        """Percent of the test split that the network gets wrong."""
        return float(self.record["result"]["top1_error"])

    def _repr_html_(self) -> str:
        """What it came to, in a notebook."""
        record, result = self.record, self.record["result"]
        recipe, cost = record["recipe"], record["cost"]
        known = {
            "error": f"{result['top1_error']:.2f} % of {result['n']:,}, 95 % {interval(result['interval'])}",
            "data": recipe["data"],
            "epochs": recipe["epochs"],
            "seed": str(record["seed"]),
            "parameters": cost["params"],
            "multiply-adds": cost["macs"],
            "trained": f"{record['seconds']['train']:,.0f} s",
            "folder": str(self.folder),
        }
        return facts(record["title"], known)


def train(
    recipe: Recipe | str | Path,
    *,
    out: str | Path,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
    data_dir: str | Path | None = None,
    options: Options = Options(),  # noqa: B008 (frozen)
    command: str = "convbench.train",
) -> Run:
    """Train and evaluate the network of `recipe` on the recipe's data, in the folder `out`.

    Started by `torchrun`, its processes train together, with the same result; the first one evaluates and writes, and
    all of them see `out`.

    Args:
        recipe: a packaged recipe's name, a TOML file's path, or a Recipe
        out: the run's folder, new or empty unless `resume`; its parent's name is the suite that a report shows it under
        settings: keys of a named recipe that differ, such as {"epochs": 5, "optimiser.lr": 0.01}
        resume: go on with the training that was interrupted in `out`; the end is the same as without the stop. Where
            there is no state yet, begin
        options: how it is run; states are also saved after each epoch and on SIGTERM or SIGINT

    Raises RequestError where `out` holds a finished training, or another one and `resume` is not set.
    """
    out = Path(out).resolve()
    chosen = recipe if isinstance(recipe, Recipe) else open_recipe(recipe, settings)
    name = chosen.network if isinstance(recipe, Recipe) else str(recipe)
    spec = RunSpec(name=out.name, title=f"{chosen.network}, {out.name}", recipe=name, settings=settings or {})
    suite = Suite(title=out.parent.name, description=chosen.description, data=chosen.data, runs=(spec,))
    directory = None if data_dir is None else Path(data_dir)
    with joined_processes() as processes:
        record = None
        if processes.first:
            folder = require_folder(out, resume=resume)
            with folder.lock():
                record = execute(
                    *(out.parent.name, suite, spec, folder),
                    recipe=chosen,
                    seed=seed,
                    data_dir=directory,
                    command=command,
                    options=options,
                )
        else:
            both = open_both(chosen.data, directory, chosen.stored, judging=False)
            train_network(chosen, *both, out, seed, options)
        record = processes.share(record)
        assert record is not None
    net = build_for(chosen, open_both(chosen.data, directory, chosen.stored, judging=processes.first)[0], seed)
    open_both.cache_clear()  # what the caller's files hold may change
    load_weights(net, out / "weights.safetensors")
    return Run(out, record, net, chosen.for_photographs)


def require_folder(out: Path, *, resume: bool) -> RunFolder:
    """The run folder at `out`; RequestError where it holds a finished run, or without `resume` any that was begun."""
    folder, begun = RunFolder(out), (out / "state.pt").exists()
    record = folder.read_record()
    if record is not None and record["status"] == "done":
        raise RequestError(f"{out} holds a finished run: take another --out, or delete it")
    if record is not None and not begun and not resume:
        raise RequestError(f"{out} holds a run that failed ({record['error']}): take another --out, or delete it")
    if begun and not resume:
        raise RequestError(f"{out} holds an unfinished training: --resume goes on with it, or take another --out")
    return folder
