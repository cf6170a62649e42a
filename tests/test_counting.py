"""Counting: torch's own flop counter as the oracle, pooling by hand, and a module that is left as it was."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import convbench
from convbench.counting import Cost, trace
from convbench.errors import RequestError
from convbench.models import build, published_input
from convbench.models.lenet import LENET5_TABLE, TableConv2d


def macs_by_torch(net: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Half the flops that torch counts in convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.rand(1, *input_shape))
    assert counter.get_total_flops() > 0
    return counter.get_total_flops() // 2


class TiedHeads(nn.Module):
    """One layer used twice, and one weight owned by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.first, self.second = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.body(x))
        return self.first(x) + self.second(x)


class Frequencies(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x).abs().cumsum(dim=-1)


class WithSpareHead(nn.Module):
    """An auxiliary head that runs in training alone, as GoogLeNet's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.spare = nn.Conv2d(1, 2, 3), nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mean(dim=(2, 3))
        return self.head(x) + self.spare(x) if self.training else self.head(x)


@pytest.mark.parametrize("name", ["lenet5_relu", "mlp_300", "mlp_1000", "mlp_300_100", "mlp_500_150"])
def test_multiply_adds_of_our_networks_are_torchs(name: str) -> None:
    net, shape = build(name), published_input(name)
    counted = trace(net, shape)
    assert counted.macs == macs_by_torch(net, shape)
    assert counted.flops == 2 * counted.macs
    assert counted.unknown == ()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_multiply_adds_of_torchvisions_networks_are_torchs(name: str) -> None:
    net, shape = torchvision.models.get_model(name, weights=None), (3, 64, 64)
    counted = trace(net, shape)
    assert counted.macs == macs_by_torch(net, shape)
    assert counted.params == sum(p.numel() for p in net.parameters())
    assert counted.params == sum(row.params for row in counted.rows)
    assert counted.unknown == ()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (4, 9, 11)),
        (nn.Conv2d(4, 6, 3, padding="same", bias=False), (4, 9, 11)),
        (nn.ConvTranspose2d(3, 5, 3, stride=2), (3, 8, 8)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 8, 8)),
        (nn.Linear(7, 5), (3, 7)),
        (nn.Linear(7, 5, bias=False), (3, 7)),
    ],
)
def test_multiply_adds_of_single_layers_are_torchs(layer: nn.Module, shape: tuple[int, ...]) -> None:
    counted = trace(layer, shape)
    assert counted.macs == macs_by_torch(layer, shape)
    has_bias = getattr(layer, "bias", None) is not None
    assert counted.connections == counted.macs + (counted.activations if has_bias else 0)


def test_table_convolution_counts_its_links_and_not_the_zeros_between() -> None:
    layer = TableConv2d(6, LENET5_TABLE, 5)
    counted = trace(layer, (6, 14, 14))
    assert counted.macs == 60 * 25 * 100 and counted.connections == 151_600
    assert counted.macs < macs_by_torch(layer, (6, 14, 14)) == 16 * 6 * 25 * 100


def test_pooling_is_linked_to_its_windows() -> None:
    assert trace(nn.MaxPool2d(2), (6, 28, 28)).connections == 6 * 14 * 14 * 4
    assert trace(nn.AvgPool2d((2, 3)), (1, 4, 6)).connections == 2 * 2 * 6
    assert trace(nn.MaxPool2d(3, stride=2), (2, 7, 7)).connections == 2 * 3 * 3 * 9
    assert trace(nn.MaxPool2d(2), (6, 28, 28)).macs == 0


def test_rows_say_what_one_image_leaves_in_memory() -> None:
    counted = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 5, 5))
    assert [(row.name, row.kind, row.output_shape) for row in counted.rows] == [
        ("0", "Conv2d", (2, 3, 3)),
        ("1", "ReLU", (2, 3, 3)),
    ]
    assert (counted.activations, counted.activation_bytes) == (36, 144)


def test_shared_parameters_count_once_and_their_work_every_time() -> None:
    net = TiedHeads()
    counted = trace(net, (6,))
    assert counted.params == sum(p.numel() for p in net.parameters()) == 42 + 24
    assert counted.macs == macs_by_torch(net, (6,)) == 2 * 36 + 2 * 24
    assert [row.name for row in counted.rows] == ["body", "body", "first", "second", "(net)"]
    assert (counted.rows[-1].kind, counted.rows[-1].operations) == ("add", {"addition": 4})


def test_layers_that_do_not_run_keep_their_parameters() -> None:
    net = WithSpareHead()
    counted = trace(net, (1, 8, 8))
    assert counted.params == sum(p.numel() for p in net.parameters())
    assert (counted.rows[-1].name, counted.rows[-1].params, counted.rows[-1].macs) == ("spare", 9, 0)
    assert counted.macs == macs_by_torch(net, (1, 8, 8))


def test_declared_auxiliary_heads_cost_nothing_in_evaluation_and_are_counted_in_training() -> None:
    net = WithSpareHead()
    net.auxiliary = ("spare",)
    counted, training = trace(net, (1, 8, 8)), trace(net, (1, 8, 8), training=True)
    assert (counted.params, counted.auxiliary_params, counted.macs) == (20 + 9, 9, 18 * 36 + 6)
    assert "spare" not in [row.name for row in counted.rows]
    assert counted.to_dict()["auxiliary_params"] == 9
    assert (training.params, training.auxiliary_params, training.macs) == (20 + 18, 0, 18 * 36 + 12)
    assert training.connections == counted.connections + 6 + 3
    assert (training.activations, net.training) == (counted.activations + 3 + 3, True)  # the head's, and their sum's


def test_local_response_normalisation_and_global_pooling_need_no_multiply_adds() -> None:
    counted = trace(nn.Sequential(nn.LocalResponseNorm(5), nn.AdaptiveAvgPool2d(1)), (8, 4, 4))
    assert (counted.macs, counted.unknown) == (0, ())
    assert counted.rows[1].connections == 8 * 16


def test_operators_without_a_rule_are_named() -> None:
    counted = trace(Frequencies(), (1, 8, 8))
    assert {"aten._fft_r2c.default", "aten.cumsum.default"} <= {one.operator for one in counted.unknown}
    assert counted.to_dict()["unknown_operators"][0] == {
        "operator": "aten._fft_r2c.default",
        "calls": 1,
        "layers": ("(net)",),
    }


def fingerprint(net: nn.Module) -> dict[str, object]:
    return {
        "modes": [module.training for module in net.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()],
        "tensors": [(name, id(t), t.device.type, t.data_ptr()) for name, t in net.state_dict(keep_vars=True).items()],
        "values": [tensor.tolist() for tensor in net.state_dict().values()],
    }


def frozen_in_part() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 3))
    net.train()
    net[1].eval()  # as in fine-tuning
    return net


def test_the_module_is_left_as_it_was() -> None:
    net = frozen_in_part()
    before = fingerprint(net)
    first, second = trace(net, (1, 8, 8)), trace(net, (1, 8, 8))
    assert fingerprint(net) == before
    assert first == second
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_the_module_is_left_as_it_was_after_an_error_too() -> None:
    net = frozen_in_part()
    before = fingerprint(net)
    with pytest.raises(RequestError, match=r"Sequential cannot read images of shape \(3, 8, 8\)"):
        trace(net, (3, 8, 8))
    assert fingerprint(net) == before
    assert trace(net, (1, 8, 8)).macs == 4 * 36 * 9 + 144 * 3


def test_cost_by_name_and_of_any_module() -> None:
    by_name = convbench.cost("lenet5")
    assert isinstance(by_name, Cost) and by_name.network == "lenet5" and by_name.input_shape == (1, 32, 32)
    assert (by_name.params, by_name.connections) == (60_000, 340_908)
    assert convbench.cost("lenet5_relu", (3, 40, 40), num_classes=5).rows[-1].output_shape == (5,)
    assert convbench.cost(nn.Linear(4, 2), (1, 1, 4)).params == 10
    with pytest.raises(RequestError, match="needs input_shape"):
        convbench.cost(nn.Linear(4, 2))
    with pytest.raises(RequestError, match="square images, found 28x32"):
        convbench.cost("lenet5", (1, 28, 32))
