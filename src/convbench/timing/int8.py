"""int8 by NNCF's post-training quantisation, with settings under which depthwise networks live, and the gate after it.

NNCF's defaults cost MobileNet two to three points of top-1 and one wrong setting costs all of it; docs/measuring.md has
the table that the settings below were chosen from.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from convbench.errors import ConvbenchError, RequestError
from convbench.processor import has_int8_products

if TYPE_CHECKING:
    import openvino

MOST_LOST = 1.0  # points of top-1 beyond which int8 is refused
CALIBRATION = 100  # images: 32 lose up to a point more, 300 gain nothing
Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def quantise(model: openvino.Model, calibration: Tensor) -> openvino.Model:
    """A copy of `model` whose convolutions and matrix products compute in int8; `model` stays as it is.

    calibration: prepared images, float32 (n, c, h, w), that look like those it will see; 100 are enough. Where the
        model's batch size is fixed, they are read in such batches and the last, smaller one is left out.

    Raises RequestError where NNCF is missing, or there are fewer images than one batch.
    """
    nncf = _import_nncf()
    from openvino._offline_transformations import apply_moc_transformations  # as OpenVINO's own converter does

    # NNCF sees convolutions and biases where normalisation is folded into them; beside one that is not, it would
    # quantise weights of very different ranges together, at the cost of four points on MobileNet.
    folded = model.clone()
    apply_moc_transformations(folded, cf=True)
    batch = model.input(0).partial_shape[0]
    size = batch.get_length() if batch.is_static else 1
    batches = [images.numpy() for images in calibration.split(size) if len(images) == size]
    if not batches:
        raise RequestError(f"int8: expected at least {size} images to calibrate with, found {len(calibration)}")
    with _bars_on_stderr():
        return nncf.quantize(
            folded,
            nncf.Dataset(batches),
            subset_size=len(batches),
            # Activations that take both signs (after an addition, before a ReLU) get a range of their own.
            preset=nncf.QuantizationPreset.MIXED,
            # The fast correction measures each layer's error on its own inputs, not on those that the quantised layers
            # before it yield. On MobileNet, where errors pile up, that is the difference between 2.4 points and none.
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Processors without VNNI add products in 16 bits, which weights of 7 bits spare from overflowing, at
                # the cost of accuracy on all others.
                overflow_fix=nncf.OverflowFix.DISABLE if has_int8_products() else nncf.OverflowFix.ENABLE,
                # The largest value that any image makes. The default takes the mean of the images' largest for some
                # layers; for all of them, it costs MobileNet another 5 to 10 points.
                activations_range_estimator_params=_least_and_greatest(),
            ),
        )


@dataclass(frozen=True)
class Int8Check:
    """int8 beside fp32 on the same images; percent and points.

    top1, top1_fp32: right answers; None without labels
    loss: points of top-1 lost. Without labels, those that fp32 itself expects: the probability that it gives its own
        answer less the one that it gives int8's, which is next to nothing where it could not decide and all where it
        was sure
    interval: of the loss at 95 %, over pairs of answers to the same image; at 500 images, one point is 5 of them
    agreement: of the answers
    """

    n: int
    loss: float
    interval: tuple[float, float]
    agreement: float
    top1: float | None = None
    top1_fp32: float | None = None


def compare_int8(reference: Tensor, scores: Tensor, labels: Tensor | None = None) -> Int8Check:
    """int8's `scores` (n, classes) beside fp32's `reference`, on images whose `labels` (n,) may be known."""
    answers, expected = scores.argmax(dim=1), reference.argmax(dim=1)
    if labels is None:
        probabilities = reference.double().softmax(dim=1)
        own, other = (probabilities.gather(1, index[:, None])[:, 0] for index in (expected, answers))
    else:
        own, other = (expected == labels).double(), (answers == labels).double()
    lost = 100 * (own - other)
    half = Z95 * float(lost.std(correction=0)) / math.sqrt(len(lost))
    loss, known = float(lost.mean()), labels is not None
    return Int8Check(
        n=len(lost),
        loss=loss,
        interval=(loss - half, loss + half),
        agreement=100 * float((answers == expected).double().mean()),
        top1=100 * float(other.mean()) if known else None,
        top1_fp32=100 * float(own.mean()) if known else None,
    )


def check_int8(reference: Tensor, scores: Tensor, labels: Tensor | None = None, *, what: str = "int8") -> Int8Check:
    """`compare_int8`, refused with the figures where int8 loses more than `MOST_LOST` points, or is not a number.

    Raises ConvbenchError, which begins with `what`.
    """
    if not bool(scores.isfinite().all()):
        raise ConvbenchError(f"{what} is refused: expected numbers, found NaN or infinity among its scores")
    check = compare_int8(reference, scores, labels)
    if check.loss > MOST_LOST:
        figures = (
            f"top-1 {check.top1:.1f} % beside {check.top1_fp32:.1f} % in fp32"
            if check.top1 is not None
            else f"by the probabilities of fp32, with which it agrees on {check.agreement:.1f} %"
        )
        raise ConvbenchError(
            f"{what} is refused: expected at most {MOST_LOST:g} point of top-1 lost, found {check.loss:.1f} on "
            f"{check.n} images, {figures}"
        )
    return check


def _least_and_greatest() -> Any:
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return RangeEstimatorParametersSet.MINMAX


def _import_nncf() -> Any:
    try:
        import nncf
    except ImportError as error:
        raise RequestError("int8 needs NNCF: pip install 'convbench[engines]'") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


@contextmanager
def _bars_on_stderr() -> Iterator[None]:
    """NNCF's progress bars, which rich's shared console prints, on stderr where that is a terminal, else nowhere."""
    from rich import get_console

    console = get_console()
    stderr, quiet = console.stderr, console.quiet
    console.stderr, console.quiet = True, not sys.stderr.isatty()
    try:
        yield
    finally:
        console.stderr, console.quiet = stderr, quiet
