"""What all pages share: the settings, the desks where work is done, the photographs, the trained networks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
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
    slow: for what takes seconds, which must not hold up the others
    workshop: for what is made behind the pages and kept, such as a suite's charts
    audit: the same for the claims, which take longer than anybody should wait for charts
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # A core for what is quick: a second would gain little, and the two wait for each other where others work.
        self.quick = Desk("quick", hands=1, waiting=48, seconds=15, threads=1)
        self.slow = Desk("slow", hands=1, waiting=4, seconds=90, threads=max(1, torch.get_num_threads() - 1))
        self.workshop, self.audit = Workshop(), Workshop()
        self.photographs = Photographs()
        self.trained = Trained(settings.runs, settings.weights)

    def warm(self) -> None:
        """Get ready, aside, what the first page would wait for: scikit-learn's photographs take a second to import."""
        threading.Thread(target=self.photographs.samples, name="convbench-warm", daemon=True).start()

    def close(self) -> None:
        """Drop what waits."""
        self.quick.close()
        self.slow.close()
        self.workshop.close()
        self.audit.close()
