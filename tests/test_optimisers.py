"""What torch's optimisers lack, beside Keras' and by hand; what the papers do to weights."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from convbench.models import build
from convbench.training.optimisers import decayed_groups, is_depthwise, renormalise_filters
from convbench.training.rmsprop import TensorFlowRMSprop


def test_rmsprop_is_keras() -> None:
    """Keras keeps epsilon under the root as well; its mean of squares begins at 0, and is set to TensorFlow 1's 1."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    torch.manual_seed(0)
    start, gradients = torch.randn(5, 3), torch.randn(8, 5, 3)
    theirs = keras.Variable(start.numpy())
    optimiser = keras.optimizers.RMSprop(0.1, rho=0.9, momentum=0.8, epsilon=0.5)
    optimiser.build([theirs])
    squares = next(one for one in optimiser.variables if "velocity" in one.path)
    squares.assign(torch.ones(5, 3))
    ours = nn.Parameter(start.clone())
    rule = TensorFlowRMSprop([ours], lr=0.1, alpha=0.9, momentum=0.8, epsilon=0.5)
    for step, gradient in enumerate(gradients):
        if step == 4:  # momentum remembers steps: the old rate stays in it
            optimiser.learning_rate = 0.01
            rule.param_groups[0]["lr"] = 0.01
        optimiser.apply([keras.ops.convert_to_tensor(gradient)], [theirs])
        ours.grad = gradient
        rule.step()
        torch.testing.assert_close(ours.detach(), theirs.value.detach().cpu())


def test_rmsprop_decays_weights() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    rule = TensorFlowRMSprop([weight], lr=0.5, alpha=0.9, epsilon=1.0, weight_decay=0.25)
    weight.grad = torch.tensor([1.0])
    rule.step()
    gradient = 1 + 0.25 * 2
    assert weight.item() == pytest.approx(2 - 0.5 * gradient / (0.9 + 0.1 * gradient**2 + 1) ** 0.5)


def test_depthwise_filters_can_be_spared() -> None:
    net = build("mobilenet_v1_025", num_classes=10)
    depthwise = {id(layer.weight) for layer in net.modules() if is_depthwise(layer)}
    assert len(depthwise) == 13  # table 1 of the paper
    rest, spared = decayed_groups(net, 4e-5, depthwise=False)
    assert (rest["weight_decay"], spared["weight_decay"]) == (4e-5, 0.0)
    assert {id(one) for one in spared["params"]} == depthwise
    assert {id(one) for one in rest["params"]} | depthwise == {id(one) for one in net.parameters()}
    assert len(decayed_groups(net, 4e-5, depthwise=True)) == 1


def test_filters_are_renormalised_to_the_radius() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 5, bias=False), nn.Conv2d(2, 3, 1), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight[0].normal_(std=0.5)
        net[0].weight[1].normal_(std=0.01)
        net[2].weight.fill_(5.0)
    before, other = net[0].weight.detach().clone(), net[2].weight.detach().clone()
    renormalise_filters(net, 0.1)
    after = net[0].weight.detach()
    assert after[0].square().mean().sqrt().item() == pytest.approx(0.1)
    torch.testing.assert_close(after[0] / before[0], (after[0] / before[0]).mean().expand_as(after[0]))
    assert torch.equal(after[1], before[1]) and torch.equal(net[2].weight, other)
    assert net[1].weight.square().mean(dim=(1, 2, 3)).sqrt().max().item() == pytest.approx(0.1)
