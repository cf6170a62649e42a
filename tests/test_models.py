"""One contract for every registered network, on `meta` where images are large; and more for one of each kind."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import convbench.models
from convbench import features
from convbench.counting import trace
from convbench.errors import RequestError
from convbench.layers import WithAuxiliary
from convbench.models import build, names, published_input
from convbench.models.registry import FAMILIES

PUBLISHED = tomllib.loads(resources.files("convbench").joinpath("published", "networks.toml").read_text())
ONE_OF_EACH_KIND = (
    *("lenet1", "lenet4", "lenet5", "lenet5_relu", "mlp_300_100"),
    *("alexnet", "alexnet_dense", "alexnet_owt", "alexnet_no_conv3_conv4_fc6_fc7", "zfnet"),
    *("vgg11_lrn", "vgg13", "vgg16_1x1", "vgg11_bn"),
    *("googlenet", "googlenet_bn", "inception_v2", "inception_v2_slim", "inception_v3"),
    *("inception_v4", "inception_resnet_v1", "inception_resnet_v2", "inception_resnet_v2_figures", "xception"),
    *("resnet18", "plain18", "resnet18_v1_5", "resnet50", "resnet50_v1_5", "resnet20", "plain20"),
    *("resnext50_32x4d", "resnext29_8x64d", "pyramidnet110_a48", "pyramidnet164_a270", "mobilenet_v1_025"),
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def device_of(name: str) -> str:
    """No numbers where images are large; small ones take a tenth of the time that torch's kernels for `meta` do."""
    return "meta" if published_input(name)[1] > 32 else "cpu"


@lru_cache(maxsize=4)
def built(name: str, **arguments: int) -> nn.Module:
    with torch.device(device_of(name)):
        return build(name, **arguments)


def images_for(name: str, count: int = 2, *, channels: int | None = None, side: int | None = None) -> Tensor:
    published_channels, published_side, _ = published_input(name)
    side = side or published_side
    return torch.zeros(count, channels or published_channels, side, side, device=device_of(name))


def all_logits(output: Tensor | WithAuxiliary) -> tuple[Tensor, ...]:
    return (output.logits, *output.aux_logits) if isinstance(output, WithAuxiliary) else (output,)


@cache
def smallest_side(name: str) -> int:
    """What the refusal of a 1x1 image promises; 1 where that is taken."""
    try:
        with torch.device("meta"):
            build(name, image_size=1)
    except RequestError as refusal:
        return int(re.fullmatch(r".*found 1x1: (\d+) works", str(refusal))[1])
    return 1


class InPlace(TorchDispatchMode):
    """Collects the operators that write into what a module has been given or has returned."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.found, self.passed = set[str](), dict[int, Tensor]()
        for module in net.modules():
            module.register_forward_pre_hook(lambda _, given: self.keep(given))
            module.register_forward_hook(lambda _, __, returned: self.keep(returned))

    def keep(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self.passed[value.untyped_storage()._cdata] = value  # kept alive: its number stays its own
        else:
            for one in value if isinstance(value, tuple) else ():
                self.keep(one)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for argument, value in zip(operator._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and value.untyped_storage()._cdata in self.passed:
                self.found.add(str(operator))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", names())
class TestEveryNetwork:
    def test_scores_every_class_and_trains_every_parameter(self, name: str) -> None:
        net, images = built(name), images_for(name)
        classes = PUBLISHED[name]["classes"]
        assert net.eval()(images).shape == (2, classes)
        output = net.train()(images)
        assert all(logits.shape == (2, classes) for logits in all_logits(output))
        torch.stack([logits.sum() for logits in all_logits(output)]).sum().backward()
        assert [key for key, p in net.named_parameters() if p.grad is None] == []
        net.zero_grad(set_to_none=True)

    def test_nothing_happens_in_place(self, name: str) -> None:
        """Hooks that record activations must see what a layer got and gave, not what a later one made of it."""
        net = built.__wrapped__(name)  # it keeps the hooks
        with InPlace(net) as in_place, torch.no_grad():
            net.train()(images_for(name))
        assert in_place.found == set()

    def test_no_module_runs_twice(self, name: str) -> None:
        """A ReLU that serves several layers hides them from hooks."""
        net, ran = built(name).train(), list[str]()
        hooks = [
            module.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
            for layer, module in net.named_modules()
        ]
        try:
            net(images_for(name))
        finally:
            for hook in hooks:
                hook.remove()
        assert len(ran) == len(set(ran))
        assert set(ran) == {layer for layer, _ in net.named_modules()}, "a module that never runs"

    def test_names_its_stages_from_large_to_small(self, name: str) -> None:
        net, images = built(name).eval(), images_for(name)
        shapes = [features(net, images, stage).shape for stage in net.stages]
        sides = [shape[2] if len(shape) == 4 else 1 for shape in shapes]
        assert sides and sides == sorted(sides, reverse=True)

    def test_reads_other_channels_and_gives_other_classes(self, name: str) -> None:
        net = built(name, num_classes=7, in_channels=2)
        for mode in (True, False):
            for logits in all_logits(net.train(mode)(images_for(name, channels=2))):
                assert logits.shape == (2, 7)

    @pytest.mark.parametrize("more", [0, 1, 18])
    def test_reads_every_size_from_the_smallest(self, name: str, more: int) -> None:
        side = smallest_side(name) + more
        net, images = built(name, image_size=side), images_for(name, side=side)
        assert net.eval()(images).shape[0] == 2
        for logits in all_logits(net.train()(images)):
            assert logits.shape[0] == 2

    @pytest.mark.parametrize("asked", [{"num_classes": 0}, {"in_channels": 0}, {"image_size": 0}, {"image_size": -1}])
    def test_refuses_numbers_below_one(self, name: str, asked: dict[str, int]) -> None:
        with pytest.raises(RequestError, match=str(*asked.values())):
            build(name, **asked)

    def test_is_listed_with_its_counts(self, name: str) -> None:
        known, counted = PUBLISHED[name], trace(built(name), published_input(name), name)
        assert counted.params == known["params"] and counted.macs == known["macs"]
        assert counted.unknown == ()
        if name == "lenet4":  # "about 260,000"
            assert counted.connections == pytest.approx(known["connections"], rel=0.01)
        else:
            assert counted.connections == known.get("connections", counted.connections)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
class TestOneOfEachKind:
    """In numbers, at the smallest size with something to see."""

    def test_state_goes_into_another_copy(self, name: str) -> None:
        images, (net, other) = self.images(name), (self.net(name, seed) for seed in (1, 2))
        scores = net.eval()(images)
        assert scores.dtype == torch.float32 and bool(scores.isfinite().all())
        assert not torch.equal(scores[0], scores[1]), "the scores do not depend on the image"
        assert not torch.equal(scores, other.eval()(images))
        other.load_state_dict(net.state_dict())
        assert torch.equal(scores, other(images))

    def test_same_seed_same_weights(self, name: str) -> None:
        first, second = (self.net(name, 7).state_dict() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)

    def test_every_parameter_gets_a_gradient_that_is_not_zero(self, name: str) -> None:
        net = self.net(name, 3).train()
        output = net(self.images(name, 8))
        labels = torch.arange(8) % all_logits(output)[0].shape[1]
        torch.stack([F.cross_entropy(logits, labels) for logits in all_logits(output)]).sum().backward()
        for parameter_name, p in net.named_parameters():
            assert p.grad is not None, parameter_name
            assert bool(p.grad.isfinite().all()) and bool(p.grad.any()), parameter_name

    def test_colour_kernels_are_stored_channels_last(self, name: str) -> None:
        for module in self.net(name, 0).modules():
            if isinstance(module, nn.Conv2d) and published_input(name)[0] == 3:
                assert module.weight.is_contiguous(memory_format=torch.channels_last)

    @staticmethod
    def side(name: str) -> int:
        return max(min(published_input(name)[1], 32), smallest_side(name))

    def net(self, name: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build(name, num_classes=10, image_size=self.side(name))

    def images(self, name: str, count: int = 2) -> Tensor:
        torch.manual_seed(0)
        return torch.rand(count, published_input(name)[0], self.side(name), self.side(name))


def test_one_of_each_kind_is_every_family() -> None:
    assert all(set(members) & set(ONE_OF_EACH_KIND) for members in FAMILIES.values())


def test_index_is_what_the_families_files_hold() -> None:
    families = {}
    for module in pkgutil.iter_modules(convbench.models.__path__):
        variants = getattr(importlib.import_module(f"convbench.models.{module.name}"), "VARIANTS", None)
        if variants is not None:
            families[module.name] = tuple(variants)
    assert families == FAMILIES
    assert set(names()) == set(PUBLISHED) and len(set(names())) == len(names())


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"unknown network 'lenet_5': nearest .*lenet5"):
        build("lenet_5")


def test_a_relu_in_place_would_be_found() -> None:
    for inplace in (False, True):
        net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout(), nn.ReLU(inplace=inplace))
        with InPlace(net) as in_place, torch.no_grad():
            net(torch.rand(1, 1, 2, 2))
        assert in_place.found == ({"aten.relu_.default"} if inplace else set())


class TestFeatures:
    def test_are_what_the_layer_gives_and_the_net_is_left_as_it_was(self) -> None:
        net, images, seen = build("lenet5_relu").train(), torch.rand(2, 1, 32, 32), list[Tensor]()
        with net.c3.register_forward_hook(lambda _, __, output: seen.append(output)):
            net(images)
        assert torch.equal(features(net, images, "c3"), seen[0])
        assert net.training and not any(module._forward_hooks for module in net.modules())

    def test_compute_no_farther_than_asked(self) -> None:
        net, ran = build("lenet5_relu"), list[str]()
        for name, module in net.named_children():
            module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        features(net, torch.rand(1, 1, 32, 32), "s2")
        assert ran == ["c1", "c1_relu", "s2"]

    def test_let_gradients_through(self) -> None:
        net, images = build("lenet5_relu"), torch.rand(1, 1, 32, 32, requires_grad=True)
        features(net, images, "s4").sum().backward()
        assert images.grad is not None and bool(images.grad.any())

    def test_unknown_layer_names_the_nearest(self) -> None:
        with pytest.raises(RequestError, match=r"unknown layer 'c33': nearest .*c3"):
            features(build("lenet5_relu"), torch.rand(1, 1, 32, 32), "c33")

    def test_a_layer_that_does_not_run_is_refused(self) -> None:
        net = built("googlenet").eval()
        with pytest.raises(RequestError, match=r"unknown layer that runs in this mode 'aux"):
            features(net, images_for("googlenet"), net.auxiliary[0])
