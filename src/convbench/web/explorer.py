"""What all pages share: the settings, the desks where work is done, the photographs, the trained networks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import torch

from convbench.web.desk import Desk
from convbench.web.photographs import Photographs
from convbench.web.trained import Trained
from convbench.web.workshop import Workshop

LOCAL = ("127.0.0.1", "localhost", "::1")  # names by which this machine is asked


@dataclass(frozen=True)
class Settings:
    """What the explorer was started with.

    runs: the folder of all runs
    weights: files of trained networks by the network's name, beside those of the runs
    data: a data set among whose images the strongest are looked for; None where none was named
    hosts: names by which it may be asked
    """

    runs: Path = Path("runs")
    weights: dict[str, Path] = field(default_factory=dict)
    data: str | None = None
    data_dir: Path | None = None
    hosts: tuple[str, ...] = LOCAL


class Explorer:
    """Lives as long as the server.

    quick: for what a person waits for with the finger on the button
    counting: for what the networks' pages count and draw, each once
    slow: for what takes seconds, which must not hold up the others
    workshop: for what is made behind the pages and kept, such as a suite's charts
    audit: the same for the claims, which take longer than anybody should wait for charts
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A core for what is quick: a second would gain little, and the two wait for each other where others work.
        self.quick = Desk("quick", hands=1, waiting=48, seconds=15, threads=1)
        self.counting = Desk("counting", hands=1, waiting=24, seconds=60)
        self.slow = Desk("slow", hands=1, waiting=4, seconds=90, threads=max(1, torch.get_num_threads() - 1))
        self.workshop, self.audit = Workshop(), Workshop()
        self.photographs = Photographs()
        self.trained = Trained(settings.runs, settings.weights)

    def warm(self) -> None:
        """Import, before anything is asked, what threads must not: altair looks into pandas, where it is installed, and
        finds half of it while another thread imports it, as scikit-learn does for its photographs."""
        with suppress(ImportError):
            import_module("pandas")
        self.photographs.samples()

    def close(self) -> None:
        """Drop what waits."""
        for one in (self.quick, self.counting, self.slow, self.workshop, self.audit):
            one.close()
