"""What LeNet-5 is compared with on the pad: nearest neighbours and support vectors, fitted behind the pages."""

from __future__ import annotations

import ctypes
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from convbench.data import Dataset, open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.rivals import build_rival
from convbench.rivals.neighbours import NearestNeighbours, vote
from convbench.rivals.rival import Rival

SVM_DIGITS = 4_000  # fitted to more, the machines take longer than a visitor waits, and answer more slowly
CLOSING_SECONDS = 10.0  # until a thread that computes is given up
NEIGHBOURS = 5  # shown; the nearest three of them vote


@dataclass(frozen=True)
class Neighbour:
    """A training digit; image: uint8 (side, side); distance: Euclidean, of pixels in [0, 1]."""

    digit: int
    distance: float
    image: Tensor


class Rivals:
    """Fitted one after the other in a thread of their own; each is None until it is.

    knn: three nearest neighbours among all training digits
    svm: 45 machines with a polynomial kernel of degree 4, fitted to the first `SVM_DIGITS` of them
    problem: why there will be none, one line
    """

    def __init__(self, data: str, data_dir: Path | None) -> None:
        self.wanted, self._data_dir = data, data_dir
        self.train: Dataset | None = None
        self.knn: Rival | None = None
        self.svm: Rival | None = None
        self.problem = ""
        self._thread = threading.Thread(target=self._fit, name="convbench-rivals", daemon=True)
        self._thread.start()

    @property
    def instead(self) -> bool:
        """Whether they learnt from the built-in digits, as the network's are not on this machine."""
        return self.train is not None and self.train.name != self.wanted

    @property
    def is_ready(self) -> bool:
        """Whether nothing more will come."""
        return self.svm is not None or bool(self.problem)

    def close(self) -> None:
        """End the fitting, at the thread's next line of Python.

        A thread that still computes in C++ when the interpreter ends would abort it.
        """
        if self._thread.is_alive():
            ident = ctypes.c_ulong(self._thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
            self._thread.join(CLOSING_SECONDS)

    def _fit(self) -> None:
        try:
            try:
                train = open_dataset(self.wanted, "train", data_dir=self._data_dir, download=False)
            except RequestError:
                train = open_dataset("digits", "train")
            self.train = train
            knn, svm = build_rival("knn"), build_rival("svm_poly4")
            knn.fit(train)
            answer(knn, train.images[:1])  # the first answer lays out the stored digits for the search
            self.knn = knn
            svm.fit(train.subset(torch.arange(min(SVM_DIGITS, len(train)))))
            self.svm = svm
        except ConvbenchError as error:
            self.problem = str(error)
        except Exception as error:  # a defect: told in the rivals' place, and logged whole
            logging.getLogger(__name__).exception("the rivals could not be fitted")
            self.problem = f"{type(error).__name__}: {error}"


def answer(rival: Rival, images: Tensor) -> Tensor:
    """`rival.scores` without its progress bar: (n, classes) of rivals that have seen every class."""
    assert len(rival.present) == rival.classes
    return torch.from_numpy(rival.method.decision_function(rival.preprocessing(images).numpy()))


def nearest(rival: Rival, train: Dataset, image: Tensor) -> tuple[int, list[Neighbour]]:
    """k-NN's answer to a uint8 image (1, 1, side, side), and the training digits nearest to it, the nearest first."""
    method = rival.method
    assert isinstance(method, NearestNeighbours)
    squares, indices = method.search(rival.preprocessing(image).flatten(1), NEIGHBOURS)
    voters = train.labels[indices[:, : method.k]]
    found = vote(squares[:, : method.k], voters, rival.classes)
    return int(found.argmax()), [
        Neighbour(int(train.labels[index]), float(square) ** 0.5, train.images[index, 0])
        for square, index in zip(squares[0], indices[0].tolist(), strict=True)
    ]
