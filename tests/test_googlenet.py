"""GoogLeNet against its paper's table 1, hand-worked sizes, torchvision and TF-slim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import features
from convbench.counting import trace
from convbench.errors import RequestError
from convbench.layers import WithAuxiliary
from convbench.models import build
from convbench.models.googlenet import MODULES, GoogLeNet
from convbench.weights import load_weights
from convbench.weights.foreign.googlenet import slim_layers
from parity import randomise, relative_error, train_one_step

TABLE_1 = {  # (channels, side) after each row of the table, at 224 pixels
    **{"conv1": (64, 112), "pool1": (64, 56), "conv2": (192, 56), "pool2": (192, 28)},
    **{"inception_3a": (256, 28), "inception_3b": (480, 28), "pool3": (480, 14)},
    **{"inception_4a": (512, 14), "inception_4b": (512, 14), "inception_4c": (512, 14), "inception_4d": (528, 14)},
    **{"inception_4e": (832, 14), "pool4": (832, 7), "inception_5a": (832, 7), "inception_5b": (1024, 7)},
}
PRINTED_OPS = {  # its column "ops", in millions; 5a's 54 does not fit its own widths
    **{"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def on_meta(name: str, **arguments: int) -> nn.Module:
    with torch.device("meta"):
        return build(name, **arguments)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_sizes_are_those_of_table_1(name: str) -> None:
    net, images = on_meta(name), torch.empty(1, 3, 224, 224, device="meta")
    for layer, (channels, side) in TABLE_1.items():
        assert features(net.eval(), images, layer).shape == (1, channels, side, side), layer


def test_operations_of_the_modules_are_those_of_table_1() -> None:
    macs = dict.fromkeys(MODULES, 0)
    for row in trace(on_meta("googlenet"), (3, 224, 224)).rows:
        if row.name.startswith("inception_"):
            macs[row.name[10:12]] += row.macs
    for module, printed in PRINTED_OPS.items():
        assert abs(macs[module] / 1e6 - printed) < 1, module


def test_branches_are_those_of_figure_3() -> None:
    net = on_meta("googlenet")
    assert [name for name, _ in net.named_children()][:8] == [
        *("conv1", "pool1", "norm1", "conv2_reduce", "conv2", "norm2", "pool2", "inception_3a"),
    ]
    windows = {
        name: conv.kernel_size[0] for name, conv in net.inception_4a.named_modules() if isinstance(conv, nn.Conv2d)
    }
    assert windows == {
        **{"branch1x1.conv": 1, "branch3x3.0.conv": 1, "branch3x3.1.conv": 3},
        **{"branch5x5.0.conv": 1, "branch5x5.1.conv": 5, "branch_pool.1.conv": 1},
    }
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert net.drop.p == 0.4 and net.aux1.drop.p == net.aux2.drop.p == 0.7


def test_normalises_over_five_maps_as_the_replica() -> None:
    """LRN of one unit by hand: a / (1 + 0.0001 / 5 * sum of the squares of five maps) ** 0.75."""
    net, maps = on_meta("googlenet"), torch.full((1, 64, 1, 1), 100.0)
    for layer in (net.norm1, net.norm2):
        normalised = layer(maps)
        assert normalised[0, 10].item() == pytest.approx(100 / (1 + 1e-4 / 5 * 5 * 1e4) ** 0.75)
        assert normalised[0, 0].item() == pytest.approx(100 / (1 + 1e-4 / 5 * 3 * 1e4) ** 0.75)


def test_heads_act_in_training_alone() -> None:
    net, images = build("googlenet", num_classes=7, image_size=79), torch.rand(2, 3, 79, 79)
    output = net(images)
    assert isinstance(output, WithAuxiliary) and output.aux_weight == 0.3
    assert [logits.shape for logits in (output.logits, *output.aux_logits)] == [(2, 7)] * 3
    assert net.eval()(images).shape == (2, 7)
    low, high = (features(net, images, layer) for layer in ("inception_4a", "inception_4d"))
    net.aux1.drop.p = net.aux2.drop.p = 0.0
    net.train()
    for found, expected in zip(net(images).aux_logits, (net.aux1(low), net.aux2(high)), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "smallest"), [("googlenet", 79), ("googlenet_bn", 15)])
def test_smallest_image(name: str, smallest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    size = {"device": "meta"}
    on_meta(name, image_size=smallest)(torch.empty(2, 3, smallest, smallest, **size))
    with pytest.raises(RequestError, match=f"{smallest} works"):
        build(name, image_size=smallest - 1)
    monkeypatch.setattr("convbench.models.googlenet.require_side", lambda *_: 1)
    with pytest.raises(RuntimeError):
        on_meta(name, image_size=smallest - 1)(torch.empty(2, 3, smallest - 1, smallest - 1, **size))


def test_heads_follow_the_image() -> None:
    assert [on_meta("googlenet", image_size=side).aux1.fc1.in_features for side in (224, 320)] == [2048, 128 * 6**2]


def test_starts_as_the_replicas() -> None:
    net = build("googlenet")
    conv, fc = net.inception_3a.branch3x3[1].conv, net.aux1.fc1
    for layer in (conv, fc):
        inputs = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx(inputs**-0.5, rel=0.02)
        assert layer.weight.abs().max().item() <= (3 / inputs) ** 0.5
        assert bool((layer.bias == 0.2).all())
    assert not any(layer.bias.any() for layer in (net.fc, net.aux1.fc2, net.aux2.fc2))
    batch_normalised = build("googlenet_bn").inception_3a.branch3x3[1].conv.weight
    assert batch_normalised.abs().max().item() <= 0.02
    assert batch_normalised.std().item() == pytest.approx(0.0088, rel=0.02)  # a normal cut at two deviations: 0.88


def torchvision_googlenet(path: Path, num_classes: int) -> nn.Module:
    net = torchvision.models.GoogLeNet(num_classes=num_classes, init_weights=False)
    save_file(randomise(net).state_dict(), path)
    return net


def test_computes_what_torchvision_does(tmp_path: Path) -> None:
    theirs = torchvision_googlenet(tmp_path / "net.safetensors", 1000).eval()
    ours = build("googlenet_bn").eval()
    assert ours.conv1.conv.same is False, "fresh weights, too, see torchvision's grid"
    assert load_weights(ours, tmp_path / "net.safetensors")["library"] == "torchvision"
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert relative_error(ours(images), theirs(images)) < 1e-4


def test_learns_what_torchvision_does(tmp_path: Path) -> None:
    """After one step, heads included: what the parameters gained, and the running statistics."""
    theirs = torchvision_googlenet(tmp_path / "net.safetensors", 10)
    ours = build("googlenet_bn", num_classes=10)
    load_weights(ours, tmp_path / "net.safetensors")
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    images, labels = torch.randn(2, 3, 96, 96, dtype=torch.float64), torch.tensor([3, 7])

    def loss(net: nn.Module) -> Tensor:
        logits, *heads = net(images)
        heads = heads[0] if isinstance(net, GoogLeNet) else heads[::-1]
        return F.cross_entropy(logits, labels) + 0.3 * sum(F.cross_entropy(head, labels) for head in heads)

    assert train_one_step(ours, loss) == pytest.approx(train_one_step(theirs, loss), rel=1e-6)
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "after")
    after = build("googlenet_bn", num_classes=10).double()
    load_weights(after, tmp_path / "after")
    for name, expected in after.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert relative_error(ours.state_dict()[name] - before[name], expected - before[name]) < 1e-4, name


def test_reads_tf_slim_names(tmp_path: Path) -> None:
    """Without the classifier they hold 5,607,184 values, which is what TF-slim's own test of InceptionV1 counts."""
    net = randomise(build("googlenet_bn", num_classes=10))
    names, modules, tensors = slim_layers(net), dict(net.named_modules()), {}
    for path, theirs in names.items():
        module = modules[path]
        if isinstance(module, nn.BatchNorm2d):
            statistics = (module.bias, module.running_mean, module.running_var)
            named = zip(("beta", "moving_mean", "moving_variance"), statistics, strict=True)
            tensors |= {f"{theirs}/{name}": tensor.detach().numpy() for name, tensor in named}
        else:
            kernel = module.weight.detach().reshape(*module.weight.shape[:2], *module.weight.shape[2:] or (1, 1))
            tensors[f"{theirs}/weights"] = kernel.permute(2, 3, 1, 0).numpy()
    assert sum(tensor.size for name, tensor in tensors.items() if "Logits" not in name) == 5_607_184
    for name in (
        *("InceptionV1/Conv2d_2c_3x3/BatchNorm/moving_mean", "InceptionV1/Mixed_4f/Branch_3/Conv2d_0b_1x1/weights"),
        *("InceptionV1/Mixed_3b/Branch_2/Conv2d_0b_3x3/weights", "InceptionV1/Mixed_5b/Branch_2/Conv2d_0a_3x3/weights"),
    ):
        assert name in tensors
    background = np.zeros((1, 1, 1024, 1), np.float32)
    logits = "InceptionV1/Logits/Conv2d_0c_1x1"
    tensors[f"{logits}/weights"] = np.concatenate((background, tensors[f"{logits}/weights"]), axis=3)
    tensors[f"{logits}/biases"] = np.concatenate(([5.0], net.fc.bias.detach().numpy())).astype(np.float32)
    np.savez(tmp_path / "net.npz", **tensors)

    loaded = build("googlenet_bn", num_classes=10)
    found = load_weights(loaded, tmp_path / "net.npz")
    assert found["library"] == "TF-slim" and found["conventions"]["same_padding"]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # TF-slim's have no gamma
    for name, tensor in loaded.state_dict().items():
        if not name.startswith("aux"):
            assert torch.equal(tensor, net.state_dict()[name]), name
