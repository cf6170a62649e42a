"""Parameters and multiply-adds of every network, to the unit, against a count by arithmetic alone.

The figures were computed from the papers' tables without any library of networks; 46 of the 65 agree with a count
that the paper, torchvision or timm print. Convention: weights, biases and two values a normalised channel; one
multiply-add for each use of a weight of a convolution or full layer, one image, 1000 classes (CIFAR networks 10).
"""

from __future__ import annotations

import pytest
import torch

from convbench.counting import trace
from convbench.models import build, names, published_input

EXACT = [  # name, image size (None: the published one), training (with auxiliary heads), parameters, multiply-adds
    ("lenet5", None, False, 60_000, 326_520),
    ("lenet1", None, False, 2_578, 91_520),
    ("alexnet", None, False, 60_965_224, 724_406_816),
    ("alexnet_dense", None, False, 62_378_344, 1_135_256_096),
    ("alexnet_owt", None, False, 61_100_840, 714_188_480),
    ("zfnet", None, False, 62_357_608, 1_168_032_896),
    ("zfnet_512_1024_512", None, False, 107_627_624, 2_476_704_896),
    ("vgg11", None, False, 132_863_336, 7_609_090_048),
    ("vgg13", None, False, 133_047_848, 11_308_466_176),
    ("vgg16_1x1", None, False, 133_638_952, 11_770_888_192),
    ("vgg16", None, False, 138_357_544, 15_470_264_320),
    ("vgg19", None, False, 143_667_240, 19_632_062_464),
    ("googlenet", None, False, 6_998_552, 1_582_671_872),
    ("googlenet", None, True, 13_378_280, 1_591_044_096),
    ("googlenet_bn", None, False, 6_624_904, 1_498_376_192),
    ("inception_v2", None, False, 11_285_224, 2_032_600_064),
    ("inception_v2_slim", None, False, 11_188_288, 1_934_857_216),
    ("inception_v3", None, False, 23_834_568, 5_713_216_096),
    ("inception_v3", None, True, 27_161_264, 5_718_899_296),
    ("inception_v4", None, False, 42_679_816, 12_253_974_624),
    ("inception_resnet_v1", None, False, 22_756_328, 6_206_361_696),
    ("inception_resnet_v2_figures", None, False, 32_433_928, 9_257_953_632),
    ("inception_resnet_v2", None, False, 55_843_464, 13_155_794_016),
    ("xception", None, False, 22_855_952, 8_357_403_496),
    ("resnet18", None, False, 11_515_688, 1_794_805_760),
    ("resnet18_v1_5", None, False, 11_689_512, 1_814_073_344),
    ("resnet34", None, False, 21_623_848, 3_644_493_824),
    ("resnet34_v1_5", None, False, 21_797_672, 3_663_761_408),
    ("resnet50", None, False, 25_557_032, 3_857_973_248),
    ("resnet50_v1_5", None, False, 25_557_032, 4_089_184_256),
    ("resnet101", None, False, 44_549_160, 7_570_194_432),
    ("resnet101_v1_5", None, False, 44_549_160, 7_801_405_440),
    ("resnet152", None, False, 60_192_808, 11_282_415_616),
    ("resnet152_v1_5", None, False, 60_192_808, 11_513_626_624),
    ("resnet20", None, False, 269_722, 40_551_040),
    ("resnet32", None, False, 464_154, 68_862_592),
    ("resnet44", None, False, 658_586, 97_174_144),
    ("resnet56", None, False, 853_018, 125_485_696),
    ("resnet110", None, False, 1_727_962, 252_887_680),
    ("resnet1202", None, False, 19_421_274, 2_829_238_912),
    ("resnext50_32x4d", None, False, 25_028_904, 4_230_479_872),
    ("resnext101_32x4d", None, False, 44_177_704, 7_969_996_800),
    ("resnext101_64x4d", None, False, 83_455_272, 15_460_270_080),
    ("resnext29_8x64d", None, False, 34_426_698, 5_387_266_048),
    ("resnext29_16x64d", None, False, 68_155_210, 10_688_866_304),
    ("pyramidnet110_a48", None, False, 1_772_706, 403_813_504),
    ("pyramidnet110_a84", None, False, 3_904_446, 772_168_168),
    ("pyramidnet110_a270", None, False, 28_485_477, 4_717_983_724),
    ("pyramidnet164_a270", None, False, 27_216_021, 4_569_837_040),
    ("mobilenet_v1", None, False, 4_231_976, 568_740_352),
    ("mobilenet_v1", 192, False, 4_231_976, 418_121_728),
    ("mobilenet_v1", 160, False, 4_231_976, 290_675_200),
    ("mobilenet_v1", 128, False, 4_231_976, 186_400_768),
    ("mobilenet_v1_075", None, False, 2_585_560, 325_400_448),
    ("mobilenet_v1_075", 192, False, 2_585_560, 239_273_472),
    ("mobilenet_v1_075", 160, False, 2_585_560, 166_396_800),
    ("mobilenet_v1_075", 128, False, 2_585_560, 106_770_432),
    ("mobilenet_v1_050", None, False, 1_331_592, 149_497_088),
    ("mobilenet_v1_050", 192, False, 1_331_592, 109_970_432),
    ("mobilenet_v1_050", 160, False, 1_331_592, 76_524_800),
    ("mobilenet_v1_050", 128, False, 1_331_592, 49_160_192),
    ("mobilenet_v1_025", None, False, 470_072, 41_030_272),
    ("mobilenet_v1_025", 192, False, 470_072, 30_212_608),
    ("mobilenet_v1_025", 160, False, 470_072, 21_059_200),
    ("mobilenet_v1_025", 128, False, 470_072, 13_570_048),
]
WITHOUT_A_COUNT = {  # networks that the ledger does not count: elsewhere checked against torchvision, or by difference
    *("lenet4", "lenet5_relu", "mlp_300", "mlp_1000", "mlp_300_100", "mlp_500_150"),
    *("alexnet_no_fc7", "alexnet_no_fc6_fc7", "alexnet_no_conv3_conv4", "alexnet_no_conv3_conv4_fc6_fc7"),
    *("vgg11_lrn", "vgg11_bn", "vgg13_bn", "vgg16_1x1_bn", "vgg16_bn", "vgg19_bn"),
    *("plain18", "plain34", "plain20", "plain32", "plain44", "plain56"),
}


@pytest.mark.parametrize(("name", "image_size", "training", "params", "macs"), EXACT)
def test_counts_are_exact(name: str, image_size: int | None, training: bool, params: int, macs: int) -> None:
    channels, side, _ = published_input(name)
    side = image_size or side
    with torch.device("meta"):
        net = build(name, image_size=side)
    counted = trace(net, (channels, side, side), name, training=training)
    assert (counted.params, counted.macs, counted.unknown) == (params, macs, ())


def test_every_network_is_counted() -> None:
    assert {name for name, *_ in EXACT} == set(names()) - WITHOUT_A_COUNT


@pytest.mark.parametrize(
    ("name", "like", "params", "macs"),
    [  # what the ablations remove (16.8, 49.4, 1.7, 51.1 million), and what costs nothing
        ("alexnet_no_fc7", "alexnet", 16_781_312, 4096 * 4096),
        ("alexnet_no_fc6_fc7", "alexnet", 49_414_144, None),
        ("alexnet_no_conv3_conv4", "alexnet", 1_696_512, None),
        ("alexnet_no_conv3_conv4_fc6_fc7", "alexnet", 51_110_656, None),
        ("vgg11_lrn", "vgg11", 0, 0),
        ("plain18", "resnet18", 0, 0),
        ("plain34", "resnet34", 0, 0),
        ("plain20", "resnet20", 0, 0),
        ("plain32", "resnet32", 0, 0),
        ("plain44", "resnet44", 0, 0),
        ("plain56", "resnet56", 0, 0),
    ],
)
def test_counts_by_difference(name: str, like: str, params: int, macs: int | None) -> None:
    with torch.device("meta"):
        counted, base = (trace(build(one), published_input(one)) for one in (name, like))
    assert base.params - counted.params == params
    assert macs is None or base.macs - counted.macs == macs
