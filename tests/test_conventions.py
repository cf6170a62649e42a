"""What is counted under which name: by hand, and against torch's own counter, optimisers and fvcore."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import convbench
from convbench.counting import CONVENTIONS, Convention, open_convention, trace
from convbench.counting.conventions import OPTIMISERS
from convbench.counting.operators import CLASSES, PAIRED, operations_of
from convbench.errors import RequestError

BLOCK = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
VALUES = 4 * 8 * 8  # of the convolution, on 10x10 images
PRODUCTS = VALUES * 27


def block() -> nn.Module:
    return nn.Sequential(*BLOCK, nn.Linear(64, 5))


def total(convention: Convention) -> int:
    return convbench.cost(block(), (3, 10, 10), convention=convention).total()


def test_every_class_by_hand() -> None:
    assert trace(block(), (3, 10, 10)).operations == {
        "convolution": 2 * PRODUCTS,
        "batch_norm": 2 * VALUES,
        "activation": VALUES,
        "pooling": VALUES,
        "matmul": 2 * 64 * 5,
        "bias": 5,
    }


def test_units_and_classes() -> None:
    assert total(Convention()) == PRODUCTS + 320
    assert total(Convention("flops")) == 2 * PRODUCTS + 640
    assert total(Convention("flops", ("convolution",))) == 2 * PRODUCTS
    assert total(Convention("macs", ("convolution", "batch_norm", "bias"))) == PRODUCTS + 2 * VALUES + 5
    assert total(CONVENTIONS["all"]) == 2 * PRODUCTS + 640 + 4 * VALUES + 5


@pytest.mark.parametrize("has_bias", [False, True])
def test_folding_leaves_a_bias_of_batch_normalisation(has_bias: bool) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=has_bias), nn.BatchNorm2d(4), nn.ReLU())
    counted = trace(net, (3, 10, 10))
    assert counted.total(CONVENTIONS["all"]) - counted.total(CONVENTIONS["folded"]) == (1 + has_bias) * VALUES
    assert isinstance(net[1], nn.BatchNorm2d)


def test_what_cannot_be_folded_is_not() -> None:
    """Before an activation, or where the convolution's own output is read by another layer, too."""

    class ReadTwice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.norm(x) + x

    for net in (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), ReadTwice()):
        counted = trace(net, (3, 10, 10))
        assert counted.total(CONVENTIONS["folded"]) == counted.total(CONVENTIONS["all"])


def test_the_name_says_all_of_it() -> None:
    assert Convention().name == "multiply-adds of convolutions and matrix products, forward pass"
    assert CONVENTIONS["folded"].name == "FLOPs of all operators, batch normalisation folded, forward pass"
    step = open_convention("training-step", counted=[name for name in CLASSES if name != "bias"], optimiser="adam")
    assert step.name == "FLOPs of all operators but biases, training step with adam"
    assert len({one.name for one in CONVENTIONS.values()}) == len(CONVENTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mac"}, "unknown convention 'mac': nearest is macs"),
        ({"unit": "flop"}, "unknown unit 'flop': nearest is flops"),
        ({"counted": ["convolution", "batchnorm"]}, "unknown class of operations 'batchnorm': nearest is batch_norm"),
        ({"counted": []}, "expected classes of operations"),
        ({"part": "backward"}, "unknown part to count 'backward'"),
        ({"optimiser": "adagrad"}, "unknown optimiser 'adagrad': nearest"),
        ({"fold_batch_norm": True, "part": "training-step"}, "forward pass alone"),
    ],
)
def test_a_wrong_convention_is_said(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_convention(**arguments)  # type: ignore[arg-type]


def paired(operations: dict[str, int]) -> int:
    return sum(operations.get(name, 0) for name in PAIRED)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "vgg11"])
def test_the_backward_pass_is_torchs(name: str) -> None:
    arguments = {"init_weights": False} if name in ("googlenet", "vgg11") else {}
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, **arguments)
    counted = trace(net, (3, 64, 64), backward=True)
    with FlopCounterMode(display=False) as counter:
        output = net.train()(torch.empty(2, 3, 64, 64, device="meta"))
        outputs = [one for one in (output if isinstance(output, tuple) else (output,)) if one is not None]
        torch.autograd.grad(outputs, list(net.parameters()), [torch.empty_like(one) for one in outputs])
    assert counter.get_total_flops() == 2 * (paired(counted.operations) + paired(counted.backward))
    assert sum(paired(row.backward) for row in counted.rows if row.kind == "Linear") == counted.backward["matmul"]


def test_the_backward_pass_of_groups_is_that_of_as_many_convolutions() -> None:
    """torch's counter takes the weight's gradient for that of a dense convolution."""
    grouped = trace(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 12, 3, groups=4)), (8, 9, 9), backward=True)
    assert grouped.rows[1].backward["convolution"] == 2 * grouped.rows[1].operations["convolution"]
    one = trace(nn.Sequential(nn.Conv2d(8, 2, 1), nn.Conv2d(2, 3, 3)), (8, 9, 9), backward=True)
    assert grouped.rows[1].backward["convolution"] == 4 * one.rows[1].backward["convolution"]


def test_the_gradient_of_the_image_is_not_needed_and_frozen_layers_cost_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    first, _, second = trace(net, (3, 10, 10), backward=True).rows
    assert first.backward["convolution"] == first.operations["convolution"]
    assert second.backward["convolution"] == 2 * second.operations["convolution"]
    net[0].requires_grad_(False)
    first, _, second = trace(net, (3, 10, 10), backward=True).rows
    assert first.backward == {} and second.backward["convolution"] == second.operations["convolution"]


class Operations(TorchDispatchMode):
    """Arithmetic on tensors of more than one value."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = operator(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.numel() > 1:
            counted = operations_of(operator, args, kwargs or {}, out)
            assert counted is not None
            self.count += sum(counted.values())
        return out


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimisers_step_is_torchs(name: str) -> None:
    parameter = nn.Parameter(torch.rand(100))
    optimiser = {
        "sgd": lambda: torch.optim.SGD([parameter], 0.1, foreach=False),
        "sgd-momentum": lambda: torch.optim.SGD([parameter], 0.1, 0.9, foreach=False),
        "sgd-momentum-decay": lambda: torch.optim.SGD([parameter], 0.1, 0.9, weight_decay=0.1, foreach=False),
        "adam": lambda: torch.optim.Adam([parameter], foreach=False),
        "adamw": lambda: torch.optim.AdamW([parameter], foreach=False),
    }[name]()
    for _ in range(2):  # the first makes the state
        parameter.grad = torch.rand(100)
        with Operations() as counter:
            optimiser.step()
    assert counter.count == 100 * OPTIMISERS[name]


def test_a_training_step_adds_up() -> None:
    counted = convbench.cost(block(), (3, 10, 10), convention="training-step")
    parts = (sum(counted.operations.values()), sum(counted.backward.values()), 4 * counted.params)
    assert counted.total() == sum(parts) and min(parts) > 0
    with pytest.raises(RequestError, match="backward pass was not traced"):
        convbench.cost(block(), (3, 10, 10)).total(CONVENTIONS["training"])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_classes_are_fvcores(name: str) -> None:
    """It counts a multiply-add once, and batch normalisation twice a value."""
    net, images = torchvision.models.get_model(name, weights=None).eval(), torch.rand(1, 3, 64, 64)
    theirs = FlopCountAnalysis(net, images).unsupported_ops_warnings(False).by_operator()
    ours = trace(net, (3, 64, 64)).operations
    assert (ours["convolution"], ours["matmul"]) == (2 * theirs["conv"], 2 * theirs["linear"])
    assert ours["batch_norm"] == theirs["batch_norm"]
    assert ours["pooling"] - (1024 if name == "resnet18" else 0) >= 0
    assert math.isclose(sum(theirs.values()), paired(ours) / 2 + ours["batch_norm"], rel_tol=1e-3)
