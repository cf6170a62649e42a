"""Folding batch normalisation: the same outputs from every network, fewer layers, and folded weights find their way."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convbench.errors import RequestError
from convbench.models import build, names
from convbench.weights import load_weights, save_weights
from convbench.weights.folding import fold_batch_norm, foldable

NETWORKS = {  # a network of most families that have batch normalisation, and a size of image that keeps it cheap
    "vgg11_bn": 32,
    "googlenet_bn": 64,
    "inception_v2": 64,
    "inception_v3": 107,
    "resnet18": 32,
    "resnet50": 32,
    "resnet20": 32,
    "inception_resnet_v1": 80,
    "xception": 72,
    "resnext29_8x64d": 32,
    "pyramidnet110_a48": 32,
    "mobilenet_v1_025": 32,
}


def with_statistics(net: nn.Module) -> nn.Module:
    """Random statistics and coefficients, as training would leave them; in evaluation mode."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return net.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay(name: str) -> None:
    torch.manual_seed(0)
    net = with_statistics(build(name, num_classes=10, image_size=NETWORKS[name]))
    images = torch.randn(1, 3, NETWORKS[name], NETWORKS[name])
    before, folded = normalisations(net), set(foldable(net).values())
    with torch.inference_mode():
        expected = net(images)
        assert fold_batch_norm(net) is net
        found = net(images)
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-5
    assert folded and normalisations(net) == before - folded


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("pyramidnet")])
def test_every_normalisation_can_be_folded(name: str) -> None:
    """PyramidNets have some that no convolution precedes."""
    with torch.device("meta"):
        net = build(name)
    assert set(foldable(net).values()) == normalisations(net)


def normalisations(net: nn.Module) -> set[str]:
    return {name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}


def test_as_torch_folds() -> None:
    torch.manual_seed(0)
    for bias in (False, True):
        net = with_statistics(nn.Sequential(nn.Conv2d(6, 8, 3, groups=2, bias=bias), nn.BatchNorm2d(8, eps=0.1)))
        expected = fuse_conv_bn_eval(copy.deepcopy(net[0]), net[1])  # type: ignore[arg-type]
        fold_batch_norm(net)
        for name, tensor in expected.state_dict().items():
            torch.testing.assert_close(net[0].state_dict()[name], tensor)


class Backwards(nn.Sequential):
    """Runs its children in an order of its own: what follows what cannot be read off it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self[1](x)
        return self[0](x)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)),
        Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)),
        nn.ModuleList([nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)]),
    ],
)
def test_only_what_directly_follows_is_folded(net: nn.Module) -> None:
    before = copy.deepcopy(net.state_dict())
    fold_batch_norm(net)
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_coefficients_are_optional() -> None:
    bn = nn.BatchNorm2d(4, affine=False)
    assert bn.running_mean is not None and bn.running_var is not None
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), bn).eval()
    x = torch.rand(2, 3, 5, 5)
    expected = net(x)
    torch.testing.assert_close(fold_batch_norm(net)(x), expected)


def test_without_statistics_it_is_refused_and_nothing_changes() -> None:
    first = [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)]
    net = nn.Sequential(*first, nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RequestError, match=r"^3 keeps no running statistics: only track_running_stats=True can"):
        fold_batch_norm(net)
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_folded_weights_go_into_a_fresh_network(tmp_path: Path) -> None:
    """By our names and by torchvision's; the network that reads them is folded first, and says so."""
    torch.manual_seed(0)
    net = fold_batch_norm(with_statistics(build("resnet18", num_classes=7)))
    images = torch.randn(2, 3, 64, 64)
    save_weights(net, tmp_path / "w.safetensors", {})
    fresh = build("resnet18", num_classes=7).eval()
    load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh(images), net(images))

    from convbench.weights.foreign.resnet import torchvision_name

    state = {
        torchvision_name(name.rpartition(".")[0]) + "." + name.rpartition(".")[2]: tensor
        for name, tensor in net.state_dict().items()
    }
    assert "conv1.bias" in state and not any("bn" in name for name in state)
    torch.save(state, tmp_path / "w.pt")
    fresh = build("resnet18", num_classes=7).eval()
    metadata = load_weights(fresh, tmp_path / "w.pt")
    assert metadata["folded"] is True and metadata["library"] == "torchvision"
    assert torch.equal(fresh(images), net(images))
    assert "folded" not in load_weights(net, tmp_path / "w.pt"), "a folded network needs no folding"


def test_unfolded_weights_do_not_go_into_a_folded_network(tmp_path: Path) -> None:
    save_weights(build("resnet20"), tmp_path / "w.safetensors", {})
    with pytest.raises(RequestError, match=r"conv1.conv.bias is missing; .* more"):
        load_weights(fold_batch_norm(build("resnet20")), tmp_path / "w.safetensors")
