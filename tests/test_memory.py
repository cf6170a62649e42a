"""Predicted memory against PyTorch's allocator, the system's own counter, and by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

import convbench
from convbench.counting.memory import OPTIMISERS, Memory, largest_batch, parse_size, predict_memory
from convbench.errors import RequestError
from convbench.report.memory import print_fits, print_memory

GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc then returns each freed tensor to the system


def predict_parts(memory: Memory) -> int:
    parts = (memory.weights, memory.inputs, memory.gradients, memory.optimiser_state)
    return sum(parts) + memory.activations + memory.workspace


def allocated(net: nn.Module, images: Tensor, optimiser: str | None) -> int:
    """The most bytes that PyTorch's CPU allocator had given out, by its profiler; weights and images included."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    before = sum(one.nbytes for one in (*net.parameters(), *net.buffers(), images))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        if optimiser is None:
            with torch.inference_mode():
                net.eval()(images)
        else:
            net.train()
            before += labels.nbytes
            stepper = OPTIMISERS[optimiser](list(net.parameters()))
            for _ in range(2):
                stepper.zero_grad()
                outputs = [one for one in tree_leaves(net(images)) if isinstance(one, Tensor)]
                torch.stack([F.cross_entropy(one, labels) for one in outputs]).sum().backward()
                stepper.step()
    nodes, events = list(watched.profiler.kineto_results.experimental_event_tree()), []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if hasattr(node.extra_fields, "alloc_size"):
            events.append((node.start_time_ns, node.extra_fields.alloc_size))
    events.sort(key=lambda event: event[0])
    return before + max(accumulate(size for _, size in events))


def torchvisions(name: str) -> nn.Module:
    return torchvision.models.get_model(name, weights=None)


NETWORKS = {  # plain layout and channels last; branches, shortcuts, depthwise, auxiliary heads, dropout
    "ours, resnet50": (lambda: convbench.build("resnet50"), 64),
    "ours, googlenet": (lambda: convbench.build("googlenet", image_size=128), 128),
    "ours, mobilenet_v1": (lambda: convbench.build("mobilenet_v1"), 128),
    "resnet18": (lambda: torchvisions("resnet18"), 64),
    "mobilenet_v2": (lambda: torchvisions("mobilenet_v2"), 96),
    "squeezenet1_1": (lambda: torchvisions("squeezenet1_1"), 64),
}


@pytest.mark.parametrize("optimiser", [None, "sgd-momentum"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_peak_is_the_allocators(name: str, optimiser: str | None) -> None:
    build, side = NETWORKS[name]
    net, shape = build(), (3, side, side)
    training = {} if optimiser is None else {"training": True, "optimiser": optimiser}
    memory = predict_memory(net, shape, 4, **training)
    assert memory.peak == pytest.approx(allocated(net, torch.randn(4, *shape), optimiser), rel=0.01)
    assert predict_parts(memory) == memory.peak


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_each_optimiser_takes_what_the_allocator_says(optimiser: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 10))
    memory = predict_memory(net, (3, 32, 32), 8, training=True, optimiser=optimiser)
    assert memory.peak == pytest.approx(allocated(net, torch.randn(8, 3, 32, 32), optimiser), abs=1024)
    params = sum(p.nbytes for p in net.parameters())
    states = {"sgd": 0, "sgd-momentum": 1, "sgd-momentum-decay": 1, "adam": 2, "adamw": 2}
    assert memory.optimiser_state == pytest.approx(states[optimiser] * params, abs=16)


def test_inference_by_hand() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    memory = predict_memory(net, (4,), 10)
    assert memory.weights == 4 * (4 * 8 + 8 + 8 * 2 + 2)
    assert (memory.inputs, memory.activations) == (4 * 40, 4 * 80 * 2)  # before and after the ReLU
    assert (memory.gradients, memory.optimiser_state, memory.workspace) == (0, 0, 0)
    assert memory.peak == memory.weights + memory.inputs + memory.activations == 232 + 160 + 640
    assert (memory.at_peak, memory.phase) == ("1", "forward")


def test_results_in_place_and_views_take_nothing() -> None:
    layers = [nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Unflatten(1, (2, 4)), nn.Flatten()]
    assert predict_memory(nn.Sequential(*layers), (4,), 10).activations == 4 * 80


def test_the_pass_decides_the_mode_and_not_the_module() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Tanh())
    assert predict_memory(net.train(), (4,), 10) == predict_memory(net.eval(), (4,), 10)
    assert predict_memory(net.train(), (4,), 10, training=True) == predict_memory(net.eval(), (4,), 10, training=True)


def test_training_keeps_what_the_backward_pass_reads() -> None:
    """Tanh's gradient reads its result: ten of them keep ten; in inference two are alive at a time."""
    net = nn.Sequential(nn.Linear(4, 100), *[nn.Tanh() for _ in range(10)], nn.Linear(100, 2))
    assert predict_memory(net, (4,), 1000).activations == 2 * 400_000
    training = predict_memory(net, (4,), 1000, training=True)
    assert 10 * 400_000 < training.activations < 13 * 400_000


def test_the_peak_names_its_layer_in_either_pass() -> None:
    wide = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 5), nn.Sequential(nn.Linear(5, 4000), nn.Tanh()), nn.Linear(4000, 3)
    )
    forward = predict_memory(wide, (3, 2, 2), 64)
    backward = predict_memory(wide, (3, 2, 2), 64, training=True)
    assert (forward.at_peak, forward.phase) == ("2.1", "forward")
    assert (backward.at_peak, backward.phase) == ("2.1", "backward")
    heavy = predict_memory(nn.Linear(1000, 1000), (1000,), 2, training=True, optimiser="sgd-momentum-decay")
    assert heavy.phase == "optimiser step"


def test_the_module_is_left_as_it_was() -> None:
    net, shape = torchvisions("resnet18").train(), (3, 64, 64)
    net.layer1.eval()
    modes, state = [m.training for m in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    first = predict_memory(net, shape, 2, training=True)
    with pytest.raises(RequestError, match=r"ResNet cannot read 2 images of shape \(1, 64, 64\)"):
        predict_memory(net, (1, 64, 64), 2)
    assert [m.training for m in net.modules()] == modes
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert predict_memory(net, shape, 2, training=True) == first
    assert predict_memory(net.to("meta"), shape, 2, training=True) == first


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["lenet5", "alexnet"])
def test_the_largest_batch_fits_and_one_more_does_not(name: str, training: bool) -> None:
    with torch.device("meta"):
        net = convbench.build(name)
    shape = convbench.models.published_input(name)

    def peak(batch_size: int) -> int:
        return predict_memory(net, shape, batch_size, training=training).peak

    for limit in (peak(1), peak(2) - 1, peak(37), parse_size("1GiB")):
        fitting = largest_batch(net, shape, limit, training=training)
        assert peak(fitting) <= limit < peak(fitting + 1)
    assert largest_batch(net, shape, peak(1) - 1, training=training) == 0


def test_nothing_fits_where_batch_statistics_need_two_images_that_do_not() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6))
    two = predict_memory(net, (3, 2, 2), 2, training=True).peak
    assert largest_batch(net, (3, 2, 2), two, training=True) == 2
    assert largest_batch(net, (3, 2, 2), two - 1, training=True) == 0


def test_wrong_requests_are_named() -> None:
    net = nn.Linear(2, 2)
    with pytest.raises(RequestError, match="unknown optimiser 'sgd-momentun': nearest"):
        predict_memory(net, (2,), 1, training=True, optimiser="sgd-momentun")
    with pytest.raises(RequestError, match="expected a batch of 1 image or more, found 0"):
        predict_memory(net, (2,), 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("512 MB", 512 * 10**6), ("1.5k", 1500), ("3G", 3 * 10**9), ("100", 100), ("2e9", 2 * 10**9)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "eight", "8 apples", "-1GiB", "GiB", "1e999", "0"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="expected a size such as 8GiB"):
        parse_size(text)


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    memory = predict_memory(nn.Linear(1024, 1024), (1024,), 256, training=True, name="dense")
    print_memory(memory)
    text = capsys.readouterr().out
    assert "dense, training with sgd-momentum, 256 1024 images at a time" in text
    assert "optimiser state  4.0 MiB" in text and "gradients" in text
    print_fits(2**30, 0, predict_memory(nn.Linear(4, 4), (4,), 1, name="dense"))
    assert "dense, inference: not even one image fits in 1.00 GiB" in capsys.readouterr().out
    print_fits(2**30, 1234, memory)
    assert "at most 1,234 images at a time fit in 1.00 GiB" in capsys.readouterr().out
    assert json.loads(json.dumps(memory.to_dict()))["peak"] == memory.peak


CHILD = """
import sys, torch
sys.path.insert(0, {benchmarks!r})
from memory import measure_here
torch.set_num_threads({threads})
print(*[measure_here({name!r}, batch, {training}) for batch in {batches}])
"""


def resident(name: str, batches: tuple[int, ...], training: bool) -> list[int]:
    """By how much a fresh process grew, by the kernel's count of its pages."""
    benchmarks, threads = str(Path(__file__).parents[1] / "benchmarks"), torch.get_num_threads()
    code = CHILD.format(benchmarks=benchmarks, threads=threads, name=name, batches=batches, training=training)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | GIVE_BACK)
    assert done.returncode == 0, done.stderr
    return [int(peak) for peak in done.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("mobilenet_v1", False),
        ("mobilenet_v1", True),
        ("resnet50", False),
        *[
            pytest.param(name, training, marks=pytest.mark.slow)
            for name in ("alexnet", "vgg16", "googlenet", "resnet50", "inception_v3")
            for training in (False, True)
            if (name, training) != ("resnet50", False)
        ],
    ],
)
def test_a_process_grows_by_what_was_predicted(name: str, training: bool) -> None:
    batches = (2, 4) if training else (1, 4)
    with torch.device("meta"):
        net = convbench.build(name)
    for batch, measured in zip(batches, resident(name, batches, training), strict=True):
        memory = predict_memory(net, convbench.models.published_input(name), batch, training=training)
        assert abs(memory.peak / measured - 1) <= 0.1, (batch, memory.peak, measured)
