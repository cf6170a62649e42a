"""A suite's runs on the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from convbench.errors import RequestError

R = TypeVar("R")
FORWARDED = ("CONVBENCH_DATA", "XDG_CACHE_HOME")  # of the environment, which says where files lie
RETRIES = 3  # of a run whose machine is lost: it goes on elsewhere from its last state


class Cluster:
    """Ray's machines, all of which have convbench and see this folder, the runs' and the data under the same paths.

    jobs: runs at a time: by default one a GPU, or where there is none, one a core
    threads: of each run
    """

    def __init__(self, address: str, jobs: int | None = None) -> None:
        """address: of a cluster; "auto" for the one that this machine belongs to, "local" to begin one here.

        Raises RequestError where Ray is not installed or no cluster answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to Ray's makers
        handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            import ray

            variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
            quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
            own = quiet if address == "local" else {**quiet, "include_dashboard": None}
            ray.init(address, runtime_env={"env_vars": variables}, **own)
        except ImportError as error:
            raise RequestError(
                f"--ray: expected Ray, found no {error.name}: pip install 'convbench[cluster]'"
            ) from error
        except (ConnectionError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RequestError(f"--ray {address}: expected a cluster that answers, found none: {reason}") from error
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)  # Ray puts its own in their place
        self._ray: Any = ray
        machines = [int(one["Resources"].get("CPU", 0)) for one in ray.nodes() if one["Alive"]]
        cores, gpus = sum(machines), int(ray.cluster_resources().get("GPU", 0))
        self.jobs = jobs or gpus or cores
        smallest = min(filter(None, machines), default=1)
        self.threads = max(1, min(cores // self.jobs, smallest))
        options = {"num_cpus": self.threads, "num_gpus": min(1, gpus), "max_retries": RETRIES, "max_calls": 1}
        self._remote = ray.remote(**options)(_on_a_share)

    def submit(self, work: Callable[..., R], *arguments: Any) -> Future[R]:
        """`work` of `arguments`, done in a process of its own wherever there is room."""
        future: Future[R] = self._remote.remote(self.threads, work, *arguments).future()
        return future

    def close(self) -> None:
        """Leave the cluster; what still runs is ended."""
        self._ray.shutdown()


def _on_a_share(threads: int, work: Callable[..., R], *arguments: Any) -> R:
    """On the machine that was chosen, with as many of its cores as were asked for."""
    torch.set_num_threads(threads)
    return work(*arguments)
