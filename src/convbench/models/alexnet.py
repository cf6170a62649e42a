"""AlexNet: the network that won ILSVRC-2012, and its relatives.

Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012, figure 2
and section 3; the one-tower form from Krizhevsky, One weird trick for parallelizing CNNs, arXiv:1404.5997.

    layer   alexnet (227x227 in)                      output    parameters  multiply-adds
    conv1   11x11 / 4, 96 maps; LRN                   96x55x55      34,944    105,415,200
    pool1   3x3 / 2                                   96x27x27
    conv2   5x5, 256 maps, two groups; LRN           256x27x27     307,456    223,948,800
    pool2   3x3 / 2                                  256x13x13
    conv3   3x3, 384 maps                            384x13x13     885,120    149,520,384
    conv4   3x3, 384 maps, two groups                384x13x13     663,936    112,140,288
    conv5   3x3, 256 maps, two groups                256x13x13     442,624     74,760,192
    pool5   3x3 / 2                                  256x6x6
    fc6     fully connected, dropout                 4,096      37,752,832     37,748,736
    fc7     fully connected, dropout                 4,096      16,781,312     16,777,216
    fc8     fully connected                          1,000       4,097,000      4,096,000
                                                                60,965,224    724,406,816

ReLU follows each layer but the last. The two groups are the halves of two graphics cards: conv2, conv4 and conv5 see
only the maps of their own. `alexnet_dense` (62,378,344 parameters; 1,135,256,096 multiply-adds) joins them;
`alexnet_owt` (61,100,840; 714,188,480) is the single tower of 64-192-384-256-256 maps at 224 pixels, without LRN,
that torchvision calls AlexNet. The `no` variants leave out layers of the two-group net, as in Zeiler & Fergus, 2014,
table 3: fc8 then reads what pool5 left, conv5 the 256 maps of pool2.

Departures
- The paper says 224 pixels, which 11x11 windows at stride 4 do not fill; 227 without padding gives its 55x55 maps.
  Figure 2 counts 253,440 units in conv1 where its own 55x55x96 has 290,400; the sum of all, 659,272, then agrees with
  the 650,000 of the text.
- The printed formula of LRN sums over the window; the author's code, Caffe and torch take the mean, that is, a fifth
  of the alpha. The networks whose errors are published ran the code: so does this one.
- Zeiler & Fergus tabulate only what they removed; that conv5 keeps its two groups without conv4 is our reading.
- The lecture deck lists the layers of `alexnet_dense` with normalisation after pooling (that is CaffeNet); here it
  precedes pooling, as the paper has it. Neither count depends on it.
- Dropout scales the remaining units up in training (torch), not all units down in evaluation (paper).
- `alexnet_owt` has dropout after fc6 and fc7 and starts from the same weights as the others; torchvision drops the
  inputs of these layers and starts from torch's defaults.

Trap: section 5's biases of 1 are kept, but layers start near-constant with them. Between images (smoothed noise) logits
deviate by 0.0002 for inputs of deviation 1, and by 0.007 for pixels in +-128 as the paper feeds them; among classes, by
0.9. Caffe saw the loss stay flat and took biases of 0.1, with weights of deviation 0.005 in fc6 and fc7.
"""

from __future__ import annotations

import torch
from torch import nn

from convbench.layers import half, init_normal, require_side

KERNELS = (11, 5, 3, 3, 3)  # of conv1 to conv5
MAPS = (96, 256, 384, 384, 256)
MAPS_ONE_TOWER = (64, 192, 384, 256, 256)
SPLIT = (2, 4, 5)  # the convolutions that see only the maps of their own card
NORMALISED = (1, 2)
POOLED = (1, 2, 5)
ONES = ("conv2.bias", "conv4.bias", "conv5.bias", "fc6.bias", "fc7.bias")  # so that ReLUs start above 0 (section 5)


class AlexNet(nn.Sequential):
    """Five convolutions, three fully connected layers.

    Args:
        maps: of conv1 to conv5
        groups: of conv2, conv4 and conv5
        padding: of conv1
        normalise: local response normalisation after relu1 and relu2 (section 3.3)
        without: numbers of the layers (3 to 7) that are left out
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for a size that leaves pool5 empty.
    """

    def __init__(
        self,
        *,
        maps: tuple[int, ...] = MAPS,
        groups: int = 2,
        padding: int = 0,
        normalise: bool = True,
        without: tuple[int, ...] = (),
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 227,
    ) -> None:
        super().__init__()
        width = in_channels
        for number, (out_width, kernel_size) in enumerate(zip(maps, KERNELS, strict=True), start=1):
            if number in without:
                continue
            stride, border = (4, padding) if number == 1 else (1, half(kernel_size))
            split = groups if number in SPLIT else 1
            conv = nn.Conv2d(width, out_width, kernel_size, stride, border, groups=split)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"relu{number}", nn.ReLU())
            if normalise and number in NORMALISED:
                self.add_module(f"norm{number}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2))
            if number in POOLED:
                self.add_module(f"pool{number}", nn.MaxPool2d(3, stride=2))
            width = out_width
        self.stages = tuple(name for name, module in self.named_children() if isinstance(module, nn.ReLU))

        width *= require_side(self, image_size, "AlexNet") ** 2
        self.flatten = nn.Flatten()
        for number in (6, 7):
            if number not in without:
                self.add_module(f"fc{number}", nn.Linear(width, 4096))
                self.add_module(f"relu{number}", nn.ReLU())
                self.add_module(f"drop{number}", nn.Dropout(0.5))
                width = 4096
        self.fc8 = nn.Linear(width, num_classes)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Weights N(0, 0.01^2); biases 0, those in `ONES` 1 (section 5)."""
        init_normal(self, 0.01)
        for name, parameter in self.named_parameters():
            if name in ONES:
                parameter.fill_(1)


VARIANTS = {
    "alexnet": (AlexNet, {}),
    "alexnet_dense": (AlexNet, {"groups": 1}),
    "alexnet_owt": (
        AlexNet,
        {"maps": MAPS_ONE_TOWER, "groups": 1, "padding": 2, "normalise": False, "image_size": 224},
    ),
    "alexnet_no_fc7": (AlexNet, {"without": (7,)}),
    "alexnet_no_fc6_fc7": (AlexNet, {"without": (6, 7)}),
    "alexnet_no_conv3_conv4": (AlexNet, {"without": (3, 4)}),
    "alexnet_no_conv3_conv4_fc6_fc7": (AlexNet, {"without": (3, 4, 6, 7)}),
}
