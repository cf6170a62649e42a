"""The deconvnet against work done by hand, against captum where it applies, and against what a gradient reaches."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import densenet121, googlenet, mobilenet_v2, resnet18, shufflenet_v2_x0_5

import convbench as cb
from convbench.counting.trace import receptive_field
from convbench.errors import ConvbenchError, RequestError
from convbench.explain.projection import METHODS, Method, project
from convbench.models import published_input


def convolution(*kernels: list[list[float]], **how: int) -> nn.Conv2d:
    """Of one map, with the given kernels."""
    weight = torch.tensor(kernels)[:, None]
    conv = nn.Conv2d(1, len(weight), weight.shape[-1], bias=False, **how)
    conv.weight.data = weight
    return conv


def mixing(*rows: list[float]) -> nn.Conv2d:
    """1x1, from as many maps as a row has numbers."""
    weight = torch.tensor(rows)[:, :, None, None]
    conv = nn.Conv2d(weight.shape[1], len(weight), 1, bias=False)
    conv.weight.data = weight
    return conv


def test_a_4x4_image_through_convolution_relu_and_pooling_worked_by_hand() -> None:
    """The kernel takes from each pixel its lower right neighbour, which makes -2 1 0 1 / 0 -1 1 0 / 1 0 2 1 / 1 1 0 2.

    The largest in the upper left window, 1, stands at row 0, column 1: the kernel's transpose gives 1 to that pixel
    and -1 to its neighbour. In the lower right window two are 2; the first, at row 2, column 2, is the switch.
    """
    image = torch.tensor([[[1.0, 2, 0, 1], [0, 3, 1, 0], [2, 0, 4, 1], [1, 1, 0, 2]]])
    difference = convolution([[0.0, 0, 0], [0, 1, 0], [0, 0, -1]], padding=1)
    net = nn.Sequential(difference, nn.ReLU(), nn.MaxPool2d(2))
    found = cb.explain.deconvnet(net, image, "2", unit=0, position=(0, 0))
    assert found.activation == 1
    assert found.pixels.tolist() == [[[0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    strongest = cb.explain.deconvnet(net, image, "2")
    assert (strongest.unit, strongest.position, strongest.activation) == (0, (1, 1), 2)
    assert strongest.pixels.tolist() == [[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, -2]]]


@pytest.mark.parametrize(("method", "expected"), [("deconvnet", -1), ("gradient", 1), ("guided", 2)])
def test_the_three_methods_differ_by_their_rectifier_worked_by_hand(method: Method, expected: float) -> None:
    """h = relu(x, -x, x) and y = 2 h1 + 3 h2 - h3, which is 1 where x is; the signals at h are 2, 3 and -1.

    A deconvnet lets the positive ones through, 2 - 3; a gradient those of active ones, 2 - 1; guided both at once, 2.
    """
    net = nn.Sequential(mixing([1.0], [-1.0], [1.0]), nn.ReLU(), mixing([2.0, 3.0, -1.0]))
    found = cb.explain.deconvnet(net, torch.ones(1, 1, 1), "2", method=method)
    assert found.activation == 1
    assert float(found.pixels) == expected


def test_signals_of_overlapping_windows_add_worked_by_hand() -> None:
    """Four windows of 3x3 share the largest pixel, 5, in the middle; the unit above sums them: 20."""
    image = torch.zeros(1, 5, 5)
    image[0, 2, 2] = 5
    net = nn.Sequential(nn.MaxPool2d(3, 2), convolution([[1.0, 1], [1, 1]]))
    found = cb.explain.deconvnet(net, image, "1")
    assert found.activation == 20
    assert found.pixels[0, 2, 2] == 4 * 20
    assert found.pixels.count_nonzero() == 1


class Greatest(nn.Module):
    """Global max pooling by a reduction."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3), keepdim=True)


@pytest.mark.parametrize(("pool", "expected"), [(nn.AdaptiveMaxPool2d(1), [2, 0]), (Greatest(), [1, 1])])
def test_a_tie_has_one_switch_and_is_shared_by_a_reduction_worked_by_hand(
    pool: nn.Module, expected: list[float]
) -> None:
    """The signal is 2, and so are both pixels."""
    assert cb.explain.deconvnet(pool, torch.tensor([[[2.0, 2]]]), "").pixels.tolist() == [[expected]]


class Sum(nn.Module):
    """relu(2 x) + relu(-3 x) + x."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.minus_thrice, self.out = mixing([2.0]), mixing([-3.0]), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.twice(x)) + F.relu(self.minus_thrice(x)) + x)


def test_addition_gives_the_signal_to_every_branch_worked_by_hand() -> None:
    """Of x = 1, 3 comes up; down come 3 * 2 through the one branch, 3 * -3 through the other, 3 past both: 0."""
    image = torch.ones(1, 1, 1)
    assert float(cb.explain.deconvnet(Sum(), image, "out").pixels) == 3 * (2 - 3 + 1)
    assert float(cb.explain.deconvnet(Sum(), image, "out", method="gradient").pixels) == 2 + 1


class Side(nn.Module):
    """2 x beside 5 x along the channels, then the first minus the second."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.five, self.out = mixing([2.0]), mixing([5.0]), mixing([1.0, -1.0], [-1.0, 1.0])

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.two(x), self.five(x)], 1).relu_())


def test_concatenation_gives_each_branch_its_own_part_worked_by_hand() -> None:
    """Unit 1 of x = 1: -2 + 5 = 3. Down: -3 to the first, which the rectifier stops, and 3 to the second: 15."""
    found = cb.explain.deconvnet(Side(), torch.ones(1, 1, 1), "out", unit=1)
    assert found.activation == 3
    assert float(found.pixels) == 15


def test_local_response_normalisation_is_passed_by_the_deconvnet_alone() -> None:
    net, image = nn.LocalResponseNorm(5, alpha=1.0, k=2.0), torch.rand(3, 4, 4) + 1
    found = cb.explain.deconvnet(net, image, "", unit=1, position=(2, 3))
    expected = torch.zeros(3, 4, 4)
    expected[1, 2, 3] = found.activation
    assert torch.equal(found.pixels, expected)
    exact = cb.explain.deconvnet(net, image, "", unit=1, position=(2, 3), method="gradient").pixels
    assert exact[0, 2, 3] < 0  # its neighbours hold it down


def test_batch_normalisation_is_as_good_as_folded() -> None:
    torch.manual_seed(0)
    net = cb.build("resnet20").eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(-1, 1)
    image = torch.randn(3, 32, 32)
    layer = net.stages[1]
    found = cb.explain.deconvnet(net, image, layer, unit=3)
    folded = cb.explain.deconvnet(cb.fold_batch_norm(net), image, layer, unit=3, position=found.position)
    torch.testing.assert_close(folded.pixels, found.pixels, rtol=1e-4, atol=1e-5 * float(found.pixels.abs().max()))
    assert found.pixels.abs().max() > 0


CAPTUM = {
    "deconvnet": captum.attr.Deconvolution,
    "guided": captum.attr.GuidedBackprop,
    "gradient": captum.attr.Saliency,
}


def by_captum(net: nn.Module, image: Tensor, unit: int, method: Method) -> Tensor:
    how = {"abs": False} if method == "gradient" else {}
    return CAPTUM[method](net).attribute(image[None].clone().requires_grad_(), target=unit, **how)[0]


def chain() -> nn.Sequential:
    """Strides, padding, groups, a depthwise convolution, overlapping and ceil-mode pooling, batch normalisation."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(8, 16, 5, 1, 2, groups=2), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.ReLU(), nn.MaxPool2d(3, 1, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 10)),
    ).eval()


@pytest.mark.parametrize("method", METHODS)
def test_chains_are_captums(method: Method) -> None:
    """Whose signal begins with 1, the deconvnet's with the activation, to which it is proportional."""
    net, image = chain(), torch.randn(3, 61, 47)
    unit = int(net(image[None])[0].argmax())
    found = cb.explain.deconvnet(net, image, "13", unit=unit, method=method)
    expected = by_captum(net, image, unit, method) * (found.activation if method == "deconvnet" else 1)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found.pixels, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


class Spelt(nn.Module):
    """Two convolutions and a ReLU between them, which is spelt in some way."""

    def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.relu = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), relu

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.relu(self.first(x)))


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "relu_": lambda x: x.relu_(),
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "relu6": lambda x: F.relu6(x * 1e-3) * 1e3,
    "hardtanh": lambda x: F.hardtanh(x, 0, 1e6),
    "clamp": lambda x: x.clamp(0, 1e6),
    "threshold": lambda x: F.threshold(x, 0, 0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_relu_is_one_however_it_is_spelt(spelling: str, method: Method) -> None:
    image = torch.randn(3, 9, 9)
    expected = cb.explain.deconvnet(Spelt(nn.ReLU()), image, "second", unit=2, method=method).pixels
    found = cb.explain.deconvnet(Spelt(SPELLINGS[spelling]), image, "second", unit=2, method=method).pixels
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("spelling", ["relu6", "relu6_", "clamp", "hardtanh"])
def test_a_unit_at_its_ceiling_is_active(spelling: str) -> None:
    """Guided backpropagation goes on through it, as if there were no ceiling; its gradient is 0."""
    relu = {
        "relu6": F.relu6,
        "relu6_": lambda x: F.relu6(x, inplace=True),
        "clamp": lambda x: x.clamp(0, 6),
        "hardtanh": lambda x: F.hardtanh(x, 0, 6),
    }[spelling]
    image, place = 1e4 * torch.randn(3, 9, 9), (2, 3)  # so that all that is active is at the ceiling
    capped, free = Spelt(relu), Spelt(nn.ReLU())
    found, expected = (cb.explain.deconvnet(net, image, "second", 2, place, method="guided") for net in (capped, free))
    assert expected.pixels.abs().max() > 0
    torch.testing.assert_close(found.pixels, expected.pixels)
    assert cb.explain.deconvnet(capped, image, "second", 2, place, method="gradient").pixels.abs().max() == 0


def test_captum_misses_a_functional_relu() -> None:
    """So it answers with the plain gradient, where this deconvnet answers as if the ReLU were a module."""
    image, place = torch.randn(3, 9, 9), (0, 0)
    net = nn.Sequential(Spelt(F.relu), nn.Flatten())
    with pytest.warns(UserWarning, match="hooks"):
        theirs = by_captum(net, image, 0, "deconvnet")
    plain = cb.explain.deconvnet(net, image, "0", 0, place, method="gradient").pixels
    ours = cb.explain.deconvnet(net, image, "0", 0, place)
    torch.testing.assert_close(theirs, plain)
    assert not torch.allclose(ours.pixels, theirs * ours.activation)


@pytest.mark.parametrize("slope", ["leaky_relu", "gelu", "silu", "tanh", "elu"])
def test_other_nonlinearities_are_their_gradient(slope: str) -> None:
    image = torch.randn(3, 9, 9)
    found = cb.explain.deconvnet(Spelt(getattr(F, slope, torch.tanh)), image, "second", unit=2)
    exact = cb.explain.deconvnet(Spelt(getattr(F, slope, torch.tanh)), image, "second", unit=2, method="gradient")
    torch.testing.assert_close(found.pixels, exact.pixels * found.activation)


FOREIGN = {
    "googlenet": (lambda: googlenet(weights=None, init_weights=False, aux_logits=False), "inception4b"),
    "resnet18": (lambda: resnet18(weights=None), "layer3"),
    "mobilenet_v2": (lambda: mobilenet_v2(weights=None), "features.7"),
    "densenet121": (lambda: densenet121(weights=None), "features.transition2"),
    "shufflenet": (lambda: shufflenet_v2_x0_5(weights=None), "stage3"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_network_is_explained_and_left_as_it_was(name: str) -> None:
    """With in-place rectifiers, branches, shuffles and shortcuts; in training mode, whose statistics must not move."""
    torch.manual_seed(0)
    make, layer = FOREIGN[name]
    net = make().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    image = torch.randn(3, 97, 64)
    kept = image.clone()
    found = cb.explain.deconvnet(net, image, layer)
    top, left, bottom, right = found.box
    outside = found.pixels.clone()
    outside[:, top:bottom, left:right] = 0
    assert found.pixels.shape == image.shape
    assert found.pixels.abs().max() > 0
    assert outside.abs().max() == 0
    assert torch.equal(found.patch, image[:, top:bottom, left:right])
    assert torch.equal(image, kept)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())


def test_hooks_are_gone_when_the_network_fails() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 2))
    with pytest.raises(RequestError, match="Sequential cannot read images of 3x32x32: mat1 and mat2"):
        cb.explain.deconvnet(net, torch.rand(3, 32, 32), "1")
    assert not any(module._forward_hooks for module in net.modules())


OURS = ("lenet5", "alexnet", "zfnet", "googlenet", "inception_v3", "xception", "resnet20", "mobilenet_v1_025")
SMALL: dict[str, Callable[[], nn.Module]] = {  # a window with gaps; statistics of the whole map
    "dilated pooling": lambda: nn.MaxPool2d(3, 2, dilation=2),
    "instance normalisation": lambda: nn.InstanceNorm2d(8),
    "normalisation without kept statistics": lambda: nn.BatchNorm2d(8, track_running_stats=False),
}
ROUNDS = 4  # random images for each place


def reached(net: nn.Module, shape: tuple[int, ...], layer: str, places: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """For each place of the map the smallest box with all pixels that move any unit there."""
    images = torch.randn(ROUNDS * len(places), *shape)

    def seed(output: Tensor) -> Tensor:
        there = torch.zeros_like(output)
        for number in range(len(images)):
            there[(number, slice(None), *places[number // ROUNDS])] = torch.randn(output.shape[1])
        return there

    signals, _ = project(net, images, layer, seed, "gradient")
    boxes = []
    for some in signals.split(ROUNDS):
        touched = some.abs().sum((0, 1)) > 0
        rows, columns = (touched.any(1 - side).nonzero().flatten().tolist() for side in (0, 1))
        boxes.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    return boxes


@pytest.mark.parametrize("name", [*OURS, *SMALL])
def test_what_a_unit_sees_is_what_gradients_reach(name: str) -> None:
    """All of the box, and no more, of a unit in the middle and one at the border of every stage."""
    torch.manual_seed(0)
    if name in SMALL:
        shape, layers = (3, 32, 40), ["2"]
        net: nn.Module = nn.Sequential(nn.Conv2d(3, 8, 3, 2), SMALL[name](), nn.Conv2d(8, 8, 3)).eval()
    else:
        channels, side, _ = published_input(name)
        shape, net = (channels, side, side), cb.build(name).eval()
        layers = net.stages
    for layer in layers:
        maps = cb.features(net, torch.zeros(1, *shape), layer).shape[1:]
        if len(maps) < 3 or maps[1:] == (1, 1):
            continue
        places = [(maps[1] // 2, maps[2] // 2), (0, 0)]
        field = receptive_field(net, shape, layer)
        assert field is not None
        assert reached(net, shape, layer, places) == [field.box(place, shape[1:]) for place in places], layer


WRONG = {
    "a layer that does not exist": ({"layer": "conv9"}, "conv9"),
    "a unit out of range": ({"layer": "0", "unit": 8}, "0 to 7, found 8"),
    "a negative unit": ({"layer": "0", "unit": -1}, "0 to 7, found -1"),
    "a position out of range": ({"layer": "0", "unit": 0, "position": (31, 0)}, "0,0 to 30,23, found 31,0"),
    "a position of a layer without maps": ({"layer": "13", "unit": 0, "position": (0, 0)}, "no maps"),
    "an unknown method": ({"layer": "0", "method": "guide"}, "guided"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_are_told(case: str) -> None:
    request, expected = WRONG[case]
    with pytest.raises(RequestError, match=expected):
        cb.explain.deconvnet(chain(), torch.rand(3, 61, 47), **request)


def test_the_strongest_of_a_layer_without_maps() -> None:
    net, image = chain(), torch.randn(3, 61, 47)
    found = cb.explain.deconvnet(net, image, "13")
    scores = net(image[None])[0].detach()
    assert (found.unit, found.position, found.activation) == (int(scores.argmax()), None, float(scores.max()))
    assert found.box == (0, 0, 61, 47)


@pytest.mark.parametrize("image", [torch.rand(2, 3, 61, 47), torch.rand(61, 47), torch.zeros(3, 61, 47).byte()])
def test_what_is_no_prepared_image_is_told(image: Tensor) -> None:
    with pytest.raises(RequestError, match="one prepared image"):
        cb.explain.deconvnet(chain(), image, "0")


def test_a_network_that_hides_its_way_is_told() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    with pytest.raises(ConvbenchError, match="gradients end"):
        cb.explain.deconvnet(Hidden(), torch.rand(3, 8, 8), "conv")


def test_a_module_that_looks_at_values_sees_the_whole_image() -> None:
    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x if float(x.detach().mean()) > 0 else -x)

    assert cb.explain.deconvnet(Looking(), torch.rand(3, 9, 8), "conv").box == (0, 0, 9, 8)


def test_many_projections_at_once_are_each_ones_own() -> None:
    net, images = chain(), torch.randn(5, 3, 61, 47)

    def seed(output: Tensor) -> Tensor:
        return output * (output == output.amax((1, 2, 3), keepdim=True))

    signals, _ = project(net, images, "7", seed)
    for image, signal in zip(images, signals, strict=True):
        torch.testing.assert_close(cb.explain.deconvnet(net, image, "7").pixels, signal)


def test_a_field_of_a_container_is_that_of_its_last_layer() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)), nn.Conv2d(4, 4, 3, 2))
    net.append(nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.AvgPool2d(2))))
    for container, last in (("0", "0.2"), ("2", "2.0.1"), ("2.0", "2.0.1"), ("", "2.0.1")):
        field = receptive_field(net, (3, 64, 64), container)
        assert field == receptive_field(net, (3, 64, 64), last) is not None, container
