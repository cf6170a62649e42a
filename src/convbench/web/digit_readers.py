"""Who reads the pad: LeNet-5 and its rivals, as far as they are there, and real digits to put on it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convbench.data import DATASETS, Dataset, open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.web.desk import BusyError
from convbench.web.digit_frames import FRAMES, PAD, Frame
from convbench.web.digit_network import DigitNetwork, Progress, Training, best_network
from convbench.web.digit_rivals import SVM_DIGITS, Rivals
from convbench.web.explorer import Explorer

SMALL = 22  # pixels of the pad on which a digit of 8x8 is shown
Kind = Literal["each", "mistakes"]


@dataclass(frozen=True)
class Sample:
    """A test digit on the pad, uint8 (28, 28); read_as: what the network took it for in its evaluation, if wrongly."""

    digit: int
    pad: Tensor
    read_as: int | None = None


class Readers:
    """One for all visitors; what is missing is made behind the pages."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer, self._lock = explorer, threading.Lock()
        self._training: Training | None = None
        self._test: tuple[str, Dataset] | None = None  # with the data set's name that was asked for
        self.network: DigitNetwork | None = None
        self.rivals: Rivals | None = None

    def look_again(self, *, retry: bool = False) -> None:
        """Take the best network that is there by now, and begin to make what is missing.

        retry: whether a training that has failed begins again. Raises what `load_network` raises for damaged weights.
        """
        with self._lock:
            best = best_network(self._explorer.trained)
            if best is None:
                if self._training is None:
                    self._training, retry = Training(self._explorer.settings.runs), True
                if retry:
                    self._training.begin()
                return
            choice, record = best
            if self._training is not None and choice.run != self._training.folder:
                self._training.close()  # another has come before it
            if self.network is None or (self.network.choice, self.network.record) != best:
                self.network = DigitNetwork(choice, record, self._explorer.trained.load(choice.id))
            if self.rivals is None or self.rivals.wanted != self.network.data:
                if self.rivals is not None:
                    self.rivals.close()
                self.rivals = Rivals(self.network.data, self._explorer.settings.data_dir)

    def progress(self) -> Progress | None:
        """Of the training, while there is no network."""
        return self._training.progress() if self._training is not None and self.network is None else None

    def ready(self) -> DigitNetwork:
        """The network; BusyError while it is being trained, ConvbenchError where that failed."""
        if self.network is None:
            self.look_again()
        if self.network is None:
            progress = self.progress()
            assert progress is not None
            if progress.error:
                raise ConvbenchError(progress.error)
            raise BusyError(f"LeNet-5 is being trained: {progress.epoch} of {progress.epochs} epochs", retry_after=2)
        return self.network

    @property
    def frame(self) -> Frame:
        """In which the network reads its digits; before it is there, that of those which it is trained on."""
        return FRAMES[self.network.data if self.network else "digits"]

    def samples(self, kind: Kind, number: int) -> list[Sample]:
        """Test digits: the `number`th of each class, or those that the network got wrong, the clearest first."""
        network, test = self.ready(), self._test_digits()
        result = network.record.result
        assert result is not None
        if kind == "mistakes":
            worst = result.worst[10 * number : 10 * number + 10] if test.name == network.data else ()
            return [Sample(one.label, on_pad(test.images[one.index, 0]), one.predicted) for one in worst]
        chosen = [(test.labels == digit).nonzero()[:, 0] for digit in range(len(test.classes))]
        return [Sample(digit, on_pad(test.images[rows[number % len(rows)], 0])) for digit, rows in enumerate(chosen)]

    def _test_digits(self) -> Dataset:
        with self._lock:
            assert self.network is not None
            if self._test is None or self._test[0] != self.network.data:
                self._test = self.network.data, self._open_test(self.network.data)
            return self._test[1]

    def _open_test(self, data: str) -> Dataset:
        try:
            return open_dataset(data, "test", data_dir=self._explorer.settings.data_dir, download=False)
        except RequestError:  # not on this machine
            return open_dataset("digits", "test")

    def words(self) -> dict[str, str]:
        """Of whom the answers are, for the page: lenet, knn, svm."""
        network, rivals = self.network, self.rivals
        if network is None or rivals is None:
            return {"lenet": "is being trained", "knn": "waits for LeNet-5", "svm": "waits for LeNet-5"}
        record = network.record
        assert record.data is not None and record.result is not None
        title = DATASETS[network.data].title.partition(" (")[0]
        lenet = (
            f"learnt from {record.data.train.n:,} digits ({title}); "
            f"{record.result.top1_error:.2f} % of {record.result.n:,} test digits wrong"
        )
        if rivals.problem:
            return {"lenet": lenet, "knn": rivals.problem, "svm": rivals.problem}
        n = len(rivals.train) if rivals.train is not None else 0
        kind, why = "training", ""
        if rivals.instead:
            kind, why = "built-in", f", as {DATASETS[network.data].title.partition(' ')[0]} is not on this machine"
        knn = f"the nearest 3 of {n:,} {kind} digits vote{why}" if rivals.knn else "is being fitted …"
        svm = f"fitted on {min(n, SVM_DIGITS):,} {kind} digits{why}" if rivals.svm else "is being fitted …"
        return {"lenet": lenet, "knn": knn, "svm": svm}

    def close(self) -> None:
        """End the training and the fitting."""
        if self._training is not None:
            self._training.close()
        if self.rivals is not None:
            self.rivals.close()


def on_pad(image: Tensor) -> Tensor:
    """A data set's digit, uint8 (side, side), as large as the pad: smoothly enlarged where it is small."""
    if len(image) == PAD:
        return image
    enlarged = Image.fromarray(image.contiguous().numpy()).resize((SMALL, SMALL), Image.Resampling.BICUBIC)
    pixels = torch.frombuffer(bytearray(enlarged.tobytes()), dtype=torch.uint8).view(SMALL, SMALL)
    return F.pad(pixels, ((PAD - SMALL) // 2,) * 4)
