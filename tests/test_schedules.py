"""Learning rates: those that the papers print, worked by hand, and torch's schedulers step for step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

from convbench.errors import RequestError
from convbench.training.recipe import Recipe, Schedule, open_recipe

PRINTED = {  # recipe: (passes done, learning rate)
    # He et al. 2016, 4.2: divided by 10 at 32k and 48k updates of 64k; 391 updates are a pass over 50,000 images
    "resnet20-cifar10": ((0, 0.1), (31_900 / 391, 0.1), (32_100 / 391, 0.01), (47_900 / 391, 0.01), (123.3, 1e-3)),
    # "0.01 to warm up the training ... (about 400 iterations), and then go back to 0.1"
    "resnet110-cifar10": ((0, 0.01), (390 / 391, 0.01), (410 / 391, 0.1), (81, 0.1), (83, 0.01)),
    # Xie et al. 2017, 5.3; Han et al. 2017, 4: 300 passes, divided by 10 at 150 and 225
    "resnext29-cifar10": ((149.9, 0.1), (150, 0.01), (224.9, 0.01), (225, 1e-3), (299.9, 1e-3)),
    "pyramidnet110-cifar10": ((149.9, 0.1), (150, 0.01), (224.9, 0.01), (225, 1e-3), (299.9, 1e-3)),
    # fb.resnet.torch: every 30 passes
    "resnext50-imagenet": ((29.9, 0.1), (30, 0.01), (60, 1e-3), (90, 1e-4)),
    # Szegedy et al. 2015, 6: "decreasing the learning rate by 4% every 8 epochs"
    "googlenet-imagenet": ((7.9, 0.01), (8, 0.0096), (16, 0.009216)),
    # Ioffe & Szegedy 2015, 4.2: six times as fast, so six falls of 4 % in 8 passes, and thirty times 0.0015
    "bn-inception-imagenet": ((1.3, 30 * 0.0015), (1.4, 0.0432), (8.1, 0.045 * 0.96**6)),
    # Szegedy et al. 2016: "0.045, decayed every two epoch using an exponential rate of 0.94"
    "inception-v3-imagenet": ((1.9, 0.045), (2, 0.0423), (4, 0.039762), (99.9, 0.045 * 0.94**49)),
    "inception-v4-imagenet": ((1.9, 0.045), (2, 0.0423), (4, 0.039762)),
    "inception-resnet-v2-imagenet": ((1.9, 0.045), (2, 0.0423), (4, 0.039762)),
    "xception-imagenet": ((1.9, 0.045), (2, 0.0423), (4, 0.039762)),
    "mobilenet-imagenet": ((1.9, 0.045), (2, 0.0423), (4, 0.039762)),
}
STEERED = {  # by the validation error; recipe: the first rate
    "alexnet-imagenet": 0.01,
    "zfnet-imagenet": 0.01,
    "vgg11-imagenet": 0.01,
    "vgg16-imagenet": 0.01,
    "resnet50-imagenet": 0.1,
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_rate_is_the_papers(name: str) -> None:
    recipe = open_recipe(name)
    for passes, rate in PRINTED[name]:
        assert recipe.lr(passes) == pytest.approx(rate), passes


@pytest.mark.parametrize("name", STEERED)
def test_the_rate_is_cut_three_times_where_the_error_stalls(name: str) -> None:
    recipe, first = open_recipe(name), STEERED[name]
    falling = [60.0 - epoch for epoch in range(10)]
    assert recipe.lr(10, falling) == first
    for cuts in range(1, 4):
        assert recipe.lr(30, falling + [55.0] * (5 * cuts - 1)) == pytest.approx(first / 10 ** (cuts - 1))
        assert recipe.lr(30, falling + [55.0] * 5 * cuts) == pytest.approx(first / 10**cuts)
    assert recipe.lr(60, falling + [55.0] * 30) == pytest.approx(first / 1000)


def test_a_shorter_training_keeps_the_shape_of_its_schedule() -> None:
    recipe = open_recipe("resnet20-cifar10", {"epochs": 15, "optimiser.lr": 0.4})
    rates = [recipe.lr(passes) for passes in (0, 7.49, 7.5, 11.24, 11.25, 14.99)]
    assert rates == pytest.approx([0.4, 0.4, 0.04, 0.04, 0.004, 0.004])


def torch_says(recipe: Recipe, scheduler: LRScheduler, steps: int) -> None:
    """The rate at the beginning of each of `steps` a pass, beside the scheduler's, which steps as often."""
    for step in range(recipe.epochs * steps):
        assert recipe.lr(step / steps) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9), step
        scheduler.optimizer.step()
        scheduler.step()


def optimiser(lr: float) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def recipe_with(schedule: Schedule, epochs: int = 20) -> Recipe:
    return replace(open_recipe("alexnet-imagenet"), schedule=schedule, epochs=epochs)


def test_schedules_are_torchs() -> None:
    cuts = recipe_with(Schedule(name="cuts", cuts=(0.4, 0.75), factor=0.2))
    torch_says(cuts, MultiStepLR(optimiser(0.01), [8, 15], gamma=0.2), steps=1)
    falling = recipe_with(Schedule(name="exponential", factor=0.9, every=1.25))
    torch_says(falling, StepLR(optimiser(0.01), step_size=5, gamma=0.9), steps=4)
    cycle = recipe_with(Schedule(name="one_cycle", warmup=0.25))
    # Torch counts the step at which the rate is 0 again, and the first as one that is done.
    rise = {"total_steps": 81, "pct_start": 21 / 81, "anneal_strategy": "linear", "div_factor": 1e9}
    torch_says(cycle, OneCycleLR(optimiser(0.01), 0.01, cycle_momentum=False, **rise), steps=4)


def test_plateaus_are_torchs() -> None:
    random = torch.Generator().manual_seed(0)
    recipe = recipe_with(Schedule(name="plateau", factor=0.5, patience=3, most=4), epochs=60)
    rule = optimiser(0.01)
    theirs = ReduceLROnPlateau(rule, factor=0.5, patience=2, threshold=0, min_lr=0.01 / 16, eps=0)
    errors = (50 - torch.arange(60) / 4 + 5 * torch.randn(60, generator=random)).tolist()
    rates = []
    for epoch, error in enumerate(errors):
        theirs.step(error)
        rates.append(rule.param_groups[0]["lr"])
        assert recipe.lr(epoch + 1, errors[: epoch + 1]) == pytest.approx(rates[-1]), epoch
    assert len(set(rates)) == 5, "the errors stall more often than the rate may fall"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet20-cifar10", {"schedule.cuts": [0.75, 0.5]}, "shares between 0 and 1 that rise"),
        ("resnet20-cifar10", {"schedule.cuts": [32000, 48000]}, "shares between 0 and 1 that rise"),
        ("alexnet-imagenet", {"held_out": 0}, "held_out: expected the images"),
        ("alexnet-imagenet", {"optimiser.lr": 0}, "optimiser.lr must be above 0"),
        ("lenet5", {"epochs": 15}, "schedule.steps must add up to epochs=15"),
        ("inception-v3-imagenet", {"schedule.every": 0}, "schedule.every"),
        ("alexnet-imagenet", {"schedule.patients": 3}, "patience"),
    ],
)
def test_wrong_schedules_are_one_line(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message) as error:
        open_recipe(name, settings)
    assert "\n" not in str(error.value)
