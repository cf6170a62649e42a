"""LeNet and the MLPs: the paper's own counts layer by layer, and its units worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convbench.counting import trace
from convbench.errors import RequestError
from convbench.models import build
from convbench.models.lenet import (
    LENET1_TABLE,
    LENET4_TABLE,
    LENET5_TABLE,
    EuclideanRBF,
    ScaledTanh,
    Subsampling,
    TableConv2d,
    digit_codes,
)
from convbench.models.registry import FAMILIES

LENETS, MLPS = FAMILIES["lenet"], FAMILIES["mlp"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", LENETS)
def test_too_small_an_image_is_refused_with_the_smallest_that_works(name: str) -> None:
    with pytest.raises(RequestError, match="found 15x15: 16 works"):
        build(name, image_size=15)
    assert build(name, image_size=16)(torch.rand(1, 1, 16, 16)).shape == (1, 10)


def test_lenet5_has_no_codes_for_more_than_ten_classes() -> None:
    with pytest.raises(RequestError, match=r"found num_classes=11: .*lenet5_relu"):
        build("lenet5", num_classes=11)
    assert build("lenet5_relu", num_classes=11)(torch.rand(1, 1, 32, 32)).shape == (1, 11)


def test_lenet5_layer_by_layer_as_the_paper_counts_it() -> None:
    counted = trace(build("lenet5"), (1, 32, 32))
    rows = {row.name: (row.output_shape, row.params, row.connections) for row in counted.rows}
    paper = {
        "c1": ((6, 28, 28), 156, 122_304),
        "s2": ((6, 14, 14), 12, 5_880),
        "c3": ((16, 10, 10), 1_516, 151_600),
        "s4": ((16, 5, 5), 32, 2_000),
        "c5": ((120, 1, 1), 48_120, 48_120),
        "f6": ((84,), 10_164, 10_164),
        "output": ((10,), 0, 840),
    }
    assert {name: rows[name] for name in paper} == paper
    assert all(rows[name][1:] == (0, 0) for name in rows.keys() - paper.keys())
    assert (counted.params, counted.connections) == (60_000, 340_908)


def test_lenet1_counts() -> None:
    counted = trace(build("lenet1"), (1, 28, 28))
    assert (counted.params, counted.connections, counted.macs) == (2_578, 98_442, 91_520)


@pytest.mark.parametrize(
    ("name", "image_size", "params"),
    [
        ("lenet5_relu", 32, 61_706),
        ("mlp_300", 28, 238_510),
        ("mlp_300", 20, 123_310),
        ("mlp_1000", 28, 795_010),
        ("mlp_300_100", 28, 266_610),
        ("mlp_500_150", 28, 469_160),
    ],
)
def test_parameters_as_published(name: str, image_size: int, params: int) -> None:
    assert sum(p.numel() for p in build(name, image_size=image_size).parameters()) == params


def test_c3_tables() -> None:
    """Table I: 60 links, ten from each input map, no two C3 maps alike; LeNet-1 has 20."""
    links = [source for sources in LENET5_TABLE for source in sources]
    assert len(links) == 60 and [links.count(source) for source in range(6)] == [10] * 6
    assert [len(sources) for sources in LENET5_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len({frozenset(sources) for sources in LENET5_TABLE}) == 16
    assert sum(map(len, LENET1_TABLE)) == 20
    for table, maps in ((LENET1_TABLE, 4), (LENET4_TABLE, 8), (LENET5_TABLE, 6)):
        assert {source for sources in table for source in sources} == set(range(maps))
        assert all(len(set(sources)) == len(sources) for sources in table)


def test_table_convolution_is_the_sum_of_its_links() -> None:
    layer = TableConv2d(6, LENET5_TABLE, 5).double()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x, kernels = torch.randn(2, 6, 9, 8, dtype=torch.float64), iter(layer.weight)
    maps = []
    for out, sources in enumerate(LENET5_TABLE):
        single = [F.conv2d(x[:, [source]], next(kernels)[None, None]) for source in sources]
        maps.append(sum(single) + layer.bias[out])
    torch.testing.assert_close(layer(x), torch.cat(maps, dim=1))


def test_subsampling_by_hand() -> None:
    layer = Subsampling(1)
    with torch.no_grad():
        layer.weight.fill_(0.5)
        layer.bias.fill_(-1)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    # the windows sum to 0+1+4+5, 2+3+6+7, 8+9+12+13, 10+11+14+15
    assert layer(x).tolist() == [[[[10 / 2 - 1, 18 / 2 - 1], [42 / 2 - 1, 50 / 2 - 1]]]]


def test_subsampling_fans_out_to_neighbouring_maps() -> None:
    layer = Subsampling(2, fanout=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1))
        layer.bias.zero_()
    x = torch.stack((torch.ones(2, 2), torch.full((2, 2), 10.0)))[None]
    assert layer(x).flatten().tolist() == [4, 8, 120, 160]


def test_rbf_by_hand() -> None:
    layer = EuclideanRBF(torch.tensor([[1.0, -1, 1], [-1, -1, -1]]))
    scores = layer(torch.tensor([[0.5, -1, 2], [-1, 0, -1]]))
    assert scores.tolist() == [[-(0.25 + 0 + 1), -(2.25 + 0 + 9)], [-(4 + 1 + 4.0), -1]]
    assert scores.argmax(dim=1).tolist() == [0, 1]
    assert not list(layer.parameters()), "the codes are fixed"


def test_each_digit_answers_to_its_own_code() -> None:
    codes = digit_codes()
    scores = EuclideanRBF(codes)(codes)
    assert scores.argmax(dim=1).tolist() == list(range(10)) and bool((scores.diagonal() == 0).all())
    assert codes.unique().tolist() == [-1, 1]
    seven = codes[7].view(12, 7)  # figure 3: a bar on top, nothing at its lower left
    assert bool((seven[0] == 1).all()) and bool((seven[1:10, :2] == -1).all())


def test_scaled_tanh_has_its_fixed_points_at_one() -> None:
    squash, x = ScaledTanh(), torch.tensor([-1.0, 0, 1, 100], dtype=torch.float64)
    assert squash(x).tolist() == pytest.approx([-1, 0, 1, 1.7159], abs=1e-4)
    at_one = torch.linspace(0.5, 1.5, 101, dtype=torch.float64)
    third = torch.func.vmap(torch.func.grad(torch.func.grad(torch.func.grad(squash))))(at_one)
    assert at_one[third.abs().argmin()].item() == pytest.approx(1, abs=0.02), "the second derivative is extremal at 1"


@pytest.mark.parametrize("name", [name for name in (*LENETS, *MLPS) if name != "lenet5_relu"])
def test_initial_weights_fill_their_range(name: str) -> None:
    inputs = {"c1": 25, "c5": 400, "f6": 120, "s2": 16, "s4": 16}  # sqrt(16) stands for the subsamplings' 4
    for layer_name, layer in build(name).named_children():
        if isinstance(layer, TableConv2d):
            fans, sizes = [25 * len(sources) for sources in layer.table], map(len, layer.table)
            parts = list(zip(layer.weight.split(list(sizes)), fans, strict=True))
        elif next(layer.parameters(), None) is not None:
            parts = [(layer.weight, inputs.get(layer_name, layer.weight[0].numel()))]
        else:
            continue
        for weight, fan in parts:
            bound, largest = 2.4 / math.sqrt(fan), weight.abs().max().item()
            assert largest <= bound, layer_name
            if weight.numel() > 100:
                assert largest > 0.95 * bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
