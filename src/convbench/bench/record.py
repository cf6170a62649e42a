"""A run's record: the same head for every kind of run, written whole at the run's end."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from convbench.bench.store import RunFolder, current_commit, describe_versions
from convbench.errors import ConvbenchError, RequestError
from convbench.timing.machine import describe_machine
from convbench.training.loop import InterruptedTrainingError

SCHEMA = 1


def new_record(
    suite_name: str, name: str, title: str, *, subject: dict[str, Any], spec: dict[str, Any], seed: int, command: str
) -> dict[str, Any]:
    """A record with all its keys; what is None so far is for the work to fill, or not of this kind of run."""
    empty = (
        "recipe",
        "preprocessing",
        "data",
        "result",
        "extremes",
        "cost",
        "profile",
        "detector",
        "published",
        "seconds",
        "finished",
    )
    return {
        "schema": SCHEMA,
        "suite": suite_name,
        "name": name,
        "title": title,
        "status": "failed",
        "error": None,
        "subject": subject,
        "spec": spec,
        "seed": seed,
        **dict.fromkeys(empty),
        "machine": {**describe_machine(), "threads": torch.get_num_threads()},
        "versions": {**describe_versions()},
        "commit": current_commit(),
        "command": command,
        "started": now(),
    }


@contextmanager
def recording(record: dict[str, Any], folder: RunFolder) -> Iterator[None]:
    """Do the run's work, which fills `record`, and write it: as done, or as failed with the error's line.

    A failure is raised again; an interruption, a wrong request, or a defect leaves no record.
    """
    try:
        yield
        record["status"] = "done"
    except (RequestError, InterruptedTrainingError):
        raise
    except ConvbenchError as error:
        record["error"] = str(error)
        raise
    finally:
        record["finished"] = now()
        if record["status"] == "done" or record["error"]:
            folder.write_record(json.loads(json.dumps(record)))


def command_line() -> str:
    """What the user typed, for the record."""
    return " ".join(["convbench", *sys.argv[1:]])


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
