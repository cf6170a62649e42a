"""VGG: depth from stacks of 3x3 convolutions.

Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015, arXiv:1409.1556,
table 1: in all columns five blocks of 64, 128, 256, 512, 512 maps, each closed by a 2x2 pool (224 pixels in, maps of
224, 112, 56, 28, 14, and 7 after the last pool), then three fully connected layers of 4096, 4096, 1000 units.

    column  name        convolutions of the blocks         parameters   multiply-adds
    A       vgg11       1  1  2      2      2             132,863,336   7,609,090,048
    A-LRN   vgg11_lrn   as A, LRN after the first         132,863,336   7,609,090,048
    B       vgg13       2  2  2      2      2             133,047,848  11,308,466,176
    C       vgg16_1x1   2  2  2+1x1  2+1x1  2+1x1         133,638,952  11,770,888,192
    D       vgg16       2  2  3      3      3             138,357,544  15,470,264,320
    E       vgg19       2  2  4      4      4             143,667,240  19,632,062,464

Two 3x3 convolutions see 5x5 pixels, three see 7x7, for 27 C^2 weights instead of 49 C^2 and with three ReLUs instead
of one (section 2.3). conv3_2 is the second convolution of block 3.

Departures
- Section 3.1 draws the weights of column A from N(0, variance 0.01) and starts the deeper columns from a trained A.
  Deviation of the logits at the start, for smoothed noise of deviation 1 at 224 pixels, and the loss of D over 170
  steps on ten images of 32 pixels (learning rate 0.01, momentum 0.9, no dropout):

      weights                        A         D         E     loss of D
      N(0, 0.1^2), the text    1.6e+6    4.1e+8    2.8e+10     not a number after a step
      N(0, 0.01^2), common     1.7e-5    5.3e-8    3.0e-9      2.303 throughout
      Glorot                   2.4e-2    4.4e-3    1.0e-3      2.303 to 2.295, falling ever faster

  Taken is Glorot's, which the same section found to make the pre-training unnecessary. Biases are 0.
- The `_bn` forms (batch normalisation after each convolution) are torchvision's, not the paper's.
- The local response normalisation of A-LRN takes the mean over its window, as AlexNet's code does (see alexnet.py).
- The paper evaluates densely, fc6 to fc8 as convolutions over the whole image: its errors are not those of one crop.
"""

from __future__ import annotations

from torch import nn

from convbench.layers import require_side

MAPS = (64, 128, 256, 512, 512)  # of blocks 1 to 5
COLUMNS = {  # table 1: the kernel sizes of each block's convolutions
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}


class VGG(nn.Sequential):
    """Five blocks of convolutions, three fully connected layers.

    Args:
        column: of table 1, "A" to "E"
        normalise: AlexNet's local response normalisation after the first convolution ("A-LRN")
        batch_norm: batch normalisation after each convolution
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for a size that leaves the last pool empty.
    """

    def __init__(
        self,
        *,
        column: str,
        normalise: bool = False,
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        width = in_channels
        for block, (kernels, maps) in enumerate(zip(COLUMNS[column], MAPS, strict=True), start=1):
            for index, kernel_size in enumerate(kernels, start=1):
                place = f"{block}_{index}"
                self.add_module(f"conv{place}", nn.Conv2d(width, maps, kernel_size, padding=kernel_size // 2))
                if batch_norm:
                    self.add_module(f"bn{place}", nn.BatchNorm2d(maps))
                self.add_module(f"relu{place}", nn.ReLU())
                if normalise and place == "1_1":
                    self.add_module(f"norm{place}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2))
                width = maps
            self.add_module(f"pool{block}", nn.MaxPool2d(2))
        side = require_side(self, image_size, "VGG")
        self.stages = tuple(f"relu{block}_{len(kernels)}" for block, kernels in enumerate(COLUMNS[column], start=1))

        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(width * side**2, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot & Bengio, AISTATS 2010, equation 16: uniform, of variance 2 / (inputs + outputs); biases 0."""
        for module in self:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)


VARIANTS = {
    "vgg11": (VGG, {"column": "A"}),
    "vgg11_lrn": (VGG, {"column": "A", "normalise": True}),
    "vgg13": (VGG, {"column": "B"}),
    "vgg16_1x1": (VGG, {"column": "C"}),
    "vgg16": (VGG, {"column": "D"}),
    "vgg19": (VGG, {"column": "E"}),
    "vgg11_bn": (VGG, {"column": "A", "batch_norm": True}),
    "vgg13_bn": (VGG, {"column": "B", "batch_norm": True}),
    "vgg16_1x1_bn": (VGG, {"column": "C", "batch_norm": True}),
    "vgg16_bn": (VGG, {"column": "D", "batch_norm": True}),
    "vgg19_bn": (VGG, {"column": "E", "batch_norm": True}),
}
