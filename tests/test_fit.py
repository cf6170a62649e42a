"""What the loop promises beside learning: that it stops well, in pieces or lower precision, and from other weights."""

from __future__ import annotations

import dataclasses
import errno
import io
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from convbench import processor
from convbench.bench.execute import build_for
from convbench.data import open_dataset
from convbench.errors import ConvbenchError, RequestError
from convbench.models import build
from convbench.processor import has_bf16_products
from convbench.training import loop
from convbench.training.divergence import LossWatch
from convbench.training.feed import Batch, MemoryFeed
from convbench.training.loop import DivergedError, Options, fit
from convbench.training.precision import Arithmetic, choose_precision
from convbench.training.recipe import Schedule, parse_settings
from convbench.training.task import hold_out
from convbench.weights import save_weights
from small_trainings import digits, recipe_with, same_state, trained


def test_divergence_tells_step_rate_and_the_last_good_state(tmp_path: Path) -> None:
    steps = {"name": "steps", "steps": [[1, 0.005], [2, 1e20]]}
    recipe = recipe_with(network="lenet5_relu", loss="cross_entropy", optimiser={"name": "sgd"}, schedule=steps)
    told = r"diverged at step \d of epoch 2, learning rate 1e\+20: the loss is .*; lower schedule.steps, .* good state"
    with pytest.raises(DivergedError, match=told) as caught:
        trained(recipe, digits(40), folder=tmp_path)
    assert "\n" not in str(caught.value)
    settings = parse_settings([str(caught.value).partition("--set ")[2]])
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(saved["history"]) == 1 and all(tensor.isfinite().all() for tensor in saved["net"].values())
    lower = Schedule(name="steps", steps=((3, 0.005),))
    again = dataclasses.replace(recipe, schedule=lower, **settings)
    begun = build_for(again, digits(40), 1).state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in saved["net"].items())
    _, history = trained(again, digits(40))
    assert history[-1].loss < saved["history"][0]["loss"]


def test_a_state_that_no_step_has_tried_is_not_called_good(tmp_path: Path) -> None:
    """The first step's loss is sound, but its weights, of 1e35, are not; they are saved before the next step tells."""
    recipe = recipe_with(network="lenet5_relu", loss="cross_entropy", optimiser={"name": "sgd", "lr": 1e35})
    with pytest.raises(DivergedError, match=r"diverged at step \d .*; lower optimiser\.lr$"):
        trained(recipe, digits(40), folder=tmp_path, options=Options(save_every=0.0))


def test_no_state_is_written_of_a_suspicious_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, steps = loop._Training.update, itertools.count(1)

    def update(self: loop._Training, *arguments: Any) -> None:
        real(self, *arguments)
        if (step := next(steps)) >= 3:
            self.last_loss = torch.tensor(100.0)
        if step == 5:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(loop._Training, "update", update)
    recipe = recipe_with(network="lenet5_relu", loss="cross_entropy")
    with pytest.raises(
        ConvbenchError, match=r"step 5: not saved, as the loss is 100; --resume goes on from the state b"
    ):
        trained(recipe, digits(80), folder=tmp_path, options=Options(save_every=0.0))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_losses_are_watched() -> None:
    watch = LossWatch()
    assert all(watch.trouble(2.0) is None for _ in range(50))
    assert all(watch.trouble(5.9) is None for _ in range(60))
    told = [watch.trouble(6.2) for _ in range(50)]
    assert told[0] is None and "at the beginning it was 2" in str(told[-1])
    assert LossWatch().trouble(float("nan")) == "the loss is nan"
    resumed = LossWatch()
    resumed.load(watch.state())
    assert resumed.trouble(6.2) == watch.trouble(6.2)


def test_what_explodes_at_once_is_no_measure() -> None:
    watch = LossWatch()
    assert all(watch.trouble(loss) is None for loss in (2.3, *[1e6] * 98))
    assert "at the beginning it was 6.8" in str(watch.trouble(1e6))


def test_the_losses_of_a_trained_network_may_rise() -> None:
    watch = LossWatch()
    assert all(watch.trouble(0.001) is None for _ in range(50))
    assert all(watch.trouble(0.9) is None for _ in range(100))


def test_without_a_folder_signals_are_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to save, so Ctrl-C leaves at once."""
    monkeypatch.setattr(loop._Training, "look", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trained(recipe_with(), digits(30))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_full_disk_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_with(epochs=3)
    whole, _ = trained(recipe, digits(30))

    written, real = itertools.count(), os.fsync

    def fsync(file: int) -> None:
        if next(written) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ConvbenchError, match=r"No space left on device; what was there before is kept"):
        trained(recipe, digits(30), folder=tmp_path)
    monkeypatch.undo()
    resumed = build_for(recipe, digits(30), 2)
    history = fit(resumed, digits(30), recipe, folder=tmp_path, resume=True)
    assert len(history) == 3 and same_state(resumed, whole)


def test_pieces_add_up_to_the_batch() -> None:
    """Without batch normalisation and dropout, a batch in pieces is the batch."""
    nets = [trained(recipe_with(network="mlp_300", loss="cross_entropy", pieces=n), digits(20))[0] for n in (1, 4)]
    for one, other in zip(*(net.state_dict().values() for net in nets), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_average_is_the_running_mean_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_with(network="mlp_300", loss="cross_entropy", average=0.8, epochs=1)
    seen: list[torch.Tensor] = []
    real = loop._Training.update
    monkeypatch.setattr(
        loop._Training,
        "update",
        lambda self, *a: (real(self, *a), seen.append(next(self.net.parameters()).detach().clone())),
    )
    net, _ = trained(recipe, digits(30))
    mean = seen[0]
    for weight in seen[1:]:
        mean = 0.8 * mean + 0.2 * weight
    torch.testing.assert_close(next(net.parameters()).detach(), mean)


def test_the_average_has_its_own_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch normalisation's are averaged with the weights; whole numbers are the network's own."""
    recipe = recipe_with(network="resnet20", loss="cross_entropy", average=0.8, epochs=2)
    seen: list[dict[str, torch.Tensor]] = []
    real = loop._Training.update

    def update(self: loop._Training, *arguments: Any) -> None:
        real(self, *arguments)
        seen.append({name: tensor.clone() for name, tensor in self.net.state_dict().items()})

    monkeypatch.setattr(loop._Training, "update", update)
    net, _ = trained(recipe, digits(40))
    means = seen[0]
    for state in seen[1:]:
        for name, tensor in state.items():
            means[name] = 0.8 * means[name] + 0.2 * tensor if tensor.is_floating_point() else tensor
    statistics = {name for name in means if "running" in name}
    assert statistics and all(not torch.equal(seen[-1][name], means[name]) for name in statistics)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, means[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_with(network="mlp_300", loss="mse", clip_norm=0.01, optimiser={"name": "sgd", "lr": 1.0}, epochs=1)
    before = build_for(recipe, digits(8), 1)
    after, _ = trained(recipe, digits(8))
    step = torch.cat([(b - a).flatten() for a, b in zip(before.parameters(), after.parameters(), strict=True)])
    assert step.norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("lower", ["bf16", "fp16"])
def test_lower_precision_learns_as_fp32_does(lower: str) -> None:
    errors = []
    for precision in ("fp32", lower):
        recipe = recipe_with(network="mlp_300", loss="cross_entropy", precision=precision, epochs=6)
        _, history = trained(recipe, open_dataset("digits", "train"), test=open_dataset("digits", "test"))
        errors.append(history[-1].test_error or 100.0)
    assert errors[0] < 12 and errors[1] < errors[0] + 1.5


def test_precision_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for flags, precision in (({"avx2", "avx512_bf16"}, "bf16"), ({"asimd", "bf16"}, "bf16"), ({"avx512f"}, "fp32")):
        monkeypatch.setattr(processor, "processor_flags", lambda flags=flags: flags)
        assert choose_precision("auto", cpu) == precision
    assert [choose_precision(asked, cpu) for asked in ("fp32", "fp16")] == ["fp32", "fp16"]
    gpu = torch.device("cuda")
    for is_native, precision in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda native=is_native, **_: native)
        assert choose_precision("auto", gpu) == precision


def test_in_fp16_losses_are_scaled_and_a_step_that_overflows_is_left_out() -> None:
    """A gradient of 1 times the first scale, 65,536, is beyond fp16; at half the scale it is not."""
    net, arithmetic = torch.nn.Linear(4, 1), Arithmetic("fp16", torch.device("cpu"))
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    images = torch.full((1, 4), 0.25)
    weights = [net.weight.detach().clone()]
    for _ in range(2):
        optimiser.zero_grad()
        with arithmetic.autocast():
            answers = net(images)
        assert answers.dtype == torch.float16
        arithmetic.backward(answers.sum())
        arithmetic.step(optimiser)
        weights.append(net.weight.detach().clone())
    assert arithmetic.scaler.get_scale() == 32768
    assert torch.equal(weights[1], weights[0])
    torch.testing.assert_close(weights[2], weights[0] - images)  # by the gradient without its scale


def test_in_fp16_the_scale_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_with(
        network="mlp_300", loss="cross_entropy", precision="fp16", optimiser={"name": "sgd", "lr": 0.1}
    )
    whole, _ = trained(recipe, digits(40))
    look = loop._Training.look

    def look_and_leave(self: loop._Training) -> None:
        look(self)
        if self.steps_done == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Training, "look", look_and_leave)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, digits(40), folder=tmp_path)
    monkeypatch.undo()
    scaler = torch.load(tmp_path / "state.pt", weights_only=True)["scaler"]
    assert scaler["scale"] < 65536 or scaler["_growth_tracker"] == 5
    resumed, _ = trained(recipe, digits(40), folder=tmp_path, resume=True)
    assert same_state(resumed, whole)


def test_in_fp16_gradients_are_clipped_without_their_scale() -> None:
    recipe = recipe_with(
        **{"network": "mlp_300", "loss": "cross_entropy", "precision": "fp16", "clip_norm": 0.01, "epochs": 2},
        optimiser={"name": "sgd", "lr": 1.0},
    )
    before = build_for(recipe, digits(8), 1)
    after, _ = trained(recipe, digits(8))
    step = torch.cat([(b - a).flatten() for a, b in zip(before.parameters(), after.parameters(), strict=True)])
    assert 0 < step.norm().item() <= 0.02 * 1.001


def test_a_compiled_network_learns_as_another() -> None:
    """With a strided depthwise convolution, which is torch's own then."""
    recipe = recipe_with(
        network="mobilenet_v1_025", loss="cross_entropy", epochs=1, batch_size=20, preprocessing={"size": 32}
    )
    losses = [
        trained(dataclasses.replace(recipe, compile=compiled), digits(40))[1][0].loss for compiled in ("off", "on")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_the_head_alone_learns() -> None:
    recipe = recipe_with(
        network="resnet20", loss="cross_entropy", head_only=True, optimiser={"name": "sgd", "lr": 1e-4}
    )
    before = build_for(recipe, digits(40), 1).state_dict()
    net, history = trained(recipe, digits(40))
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert history[-1].loss < history[0].loss


def test_initial_weights_leave_out_another_head(tmp_path: Path) -> None:
    trunk = build("resnet20", num_classes=7, in_channels=1, image_size=16)
    save_weights(trunk, tmp_path / "trunk.safetensors", {"network": "resnet20"})
    recipe = recipe_with(network="resnet20", loss="cross_entropy", initial_weights=str(tmp_path / "trunk.safetensors"))
    net = build_for(recipe, digits(10), 1)
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor) != name.startswith("fc."), name
    some = dataclasses.replace(recipe, initial_layers=("conv1",))
    partly = build_for(some, digits(10), 1).state_dict()
    assert torch.equal(partly["conv1.conv.weight"], trunk.state_dict()["conv1.conv.weight"])
    assert not torch.equal(
        partly["conv2.0.residual.conv1.conv.weight"], trunk.state_dict()["conv2.0.residual.conv1.conv.weight"]
    )
    with pytest.raises(RequestError, match="does not fit MLP"):
        build_for(dataclasses.replace(recipe, network="mlp_300"), digits(10), 1)


def test_images_held_out_are_not_learnt_from() -> None:
    dataset = digits(100)
    validation, learnt = hold_out(dataset, 30, None)
    assert validation is not None and (len(validation), len(learnt)) == (30, 70)
    pixels = {tuple(image.flatten().tolist()) for image in validation.images}
    assert not pixels & {tuple(image.flatten().tolist()) for image in learnt.images}
    assert hold_out(dataset, 30, 20)[1].fingerprint != learnt.fingerprint
    assert hold_out(dataset, 0, None) == (None, dataset)
    with pytest.raises(RequestError, match="expected 100 at most"):
        hold_out(dataset, 80, 30)


def test_curves_for_tensorboard_go_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, look = recipe_with(epochs=3), loop._Training.look

    def look_and_leave(self: loop._Training) -> None:
        look(self)
        if self.steps_done == 6:  # of the second epoch, whose end is not saved yet
            raise KeyboardInterrupt

    monkeypatch.setattr(loop._Training, "look", look_and_leave)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, digits(30), folder=tmp_path, options=Options(tensorboard=True))
    monkeypatch.undo()
    _, history = trained(recipe, digits(30), folder=tmp_path, resume=True, options=Options(tensorboard=True))
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("step/loss")] == list(range(1, 13))  # 4 steps an epoch
    assert [event.value for event in curves.Scalars("loss/train")] == pytest.approx([one.loss for one in history])
    assert [event.step for event in curves.Scalars("error/train")] == [4, 8, 12]
    assert curves.Scalars("step/learning_rate")[0].value == pytest.approx(recipe.lr(0))
    assert "error/test" not in curves.Tags()["scalars"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_rate_time_left_and_the_wait_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemoryFeed.batches

    def slowly(self: MemoryFeed, *place: int) -> Iterator[Batch]:
        for batch in real(self, *place):
            time.sleep(0.05)
            yield batch

    monkeypatch.setattr(MemoryFeed, "batches", slowly)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    _, history = trained(recipe_with(epochs=2), digits(80))
    assert isinstance(sys.stderr, Terminal)
    said = sys.stderr.getvalue()
    assert history[0].data_wait > 0.01
    assert re.search(rf"epoch 1, loss {history[0].loss:.4f}, waiting \d+% for data", said)
    assert re.search(r"\d images/s", said) and re.search(r"\d:\d\d:\d\d", said)


def test_what_auto_stands_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    trained(recipe_with(epochs=1, precision="auto", compile="auto"), digits(30))
    precision = "bf16" if has_bf16_products() else "fp32"
    assert capsys.readouterr().err.startswith(f"lenet5: {precision} products, eager, one process, on cpu\n")


def test_the_images_for_testing_are_judged_as_often_as_asked_for() -> None:
    """Every second epoch and the last; the training is the same."""
    recipe, dataset = recipe_with(epochs=5), digits(40)
    net, often = trained(recipe, dataset, test=dataset)
    other, seldom = trained(recipe, dataset, test=dataset, options=Options(judge_every=2))
    assert [one.test_error is None for one in seldom] == [True, False, True, False, False]
    assert [one.loss for one in seldom] == [one.loss for one in often] and same_state(net, other)
