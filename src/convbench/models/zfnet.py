"""ZFNet: AlexNet with a finer first layer, found by looking at what its layers see.

Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014, arXiv:1311.2901, figure 3.

    layer   zfnet (224x224 in)                   output     parameters  multiply-adds
    conv1   7x7 / 2, 96 maps                     96x110x110     14,208    170,755,200
    pool1   3x3 / 2; contrast normalisation      96x55x55
    conv2   5x5 / 2, 256 maps                   256x26x26      614,656    415,334,400
    pool2   3x3 / 2; contrast normalisation     256x13x13
    conv3   3x3, 384 maps                       384x13x13      885,120    149,520,384
    conv4   3x3, 384 maps                       384x13x13    1,327,488    224,280,576
    conv5   3x3, 256 maps                       256x13x13      884,992    149,520,384
    pool5   3x3 / 2                             256x6x6
    fc6     fully connected, dropout            4,096       37,752,832     37,748,736
    fc7     fully connected, dropout            4,096       16,781,312     16,777,216
    fc8     fully connected                     1,000        4,097,000      4,096,000
                                                            62,357,608  1,168,032,896

ReLU follows each layer but the last. conv2 has stride 2 (many copies keep AlexNet's 1). `zfnet_512_1024_512` is the
wider model of table 2 (b): 512, 1024, 512 maps in conv3 to conv5; 107,627,624 parameters, 2,476,704,896 multiply-adds.

Departures
- Figure 3 gives sizes, not borders. A border of 1 around the image gives its 110; its 55 and 13 need pools that keep
  the incomplete last window; conv2 has no border, conv3 to conv5 have 1.
- Contrast is normalised across maps, after pooling, by AlexNet's rule and constants: the paper names none.
- "All weights are initialized to 10^-2" is read as a deviation: equal weights would stay equal. Biases are 0.
- The paper also rescales filters of the convolutions whose root mean square exceeds 0.1, after each update: that is
  training, and no part of the network.
"""

from __future__ import annotations

from torch import nn

from convbench.layers import init_normal, require_side


class ZFNet(nn.Sequential):
    """Five convolutions, three fully connected layers.

    Args:
        maps: of conv3, conv4 and conv5
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for a size that leaves pool5 empty.
    """

    stages = ("relu1", "relu2", "relu3", "relu4", "relu5")

    def __init__(
        self,
        *,
        maps: tuple[int, int, int] = (384, 384, 256),
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 96, 7, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)
        self.conv2 = nn.Conv2d(96, 256, 5, stride=2)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)
        self.conv3 = nn.Conv2d(256, maps[0], 3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(maps[0], maps[1], 3, padding=1)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(maps[1], maps[2], 3, padding=1)
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(3, stride=2)
        side = require_side(self, image_size, "ZFNet")
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(maps[2] * side**2, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes)
        init_normal(self, 0.01)


VARIANTS = {
    "zfnet": (ZFNet, {}),
    "zfnet_512_1024_512": (ZFNet, {"maps": (512, 1024, 512)}),
}
