"""The curves of a training as TensorBoard shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convbench.errors import RequestError

if TYPE_CHECKING:
    from convbench.training.loop import Metrics

FOLDER = "tensorboard"  # in a run's


class Board:
    """Writes into `folder`/tensorboard; what was written of steps after the first `done`, before a stop, goes.

    Raises RequestError where the package tensorboard is missing.
    """

    def __init__(self, folder: Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RequestError(
                "--tensorboard: expected the package tensorboard, found none; pip install 'convbench[tracking]'"
            ) from error
        self.writer = SummaryWriter(folder / FOLDER, purge_step=done + 1)

    def write_step(self, step: int, loss: float, lr: float) -> None:
        """Of a batch; step: counted from the training's beginning."""
        self.writer.add_scalar("step/loss", loss, step)
        self.writer.add_scalar("step/learning_rate", lr, step)

    def write_epoch(self, step: int, metrics: Metrics) -> None:
        """What is known at the end of an epoch, after `step` steps."""
        values = {
            "loss/train": metrics.loss,
            "error/train": metrics.train_error,
            "error/test": metrics.test_error,
            "error/validation": metrics.validation_error,
            "speed/images_per_second": metrics.images_per_s,
            "speed/data_wait": metrics.data_wait,
        }
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()
