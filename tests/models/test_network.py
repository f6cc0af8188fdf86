"""What every network inherits: the grid."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glocal.models.network import FeatureInfo, SegmentationNetwork


class Pixelwise(SegmentationNetwork):
    in_channels = num_classes = 1
    grid = 16
    feature_info = (FeatureInfo(1, 1),)

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def encode(self, x):
        assert x.shape[-2] % self.grid == x.shape[-1] % self.grid == 0
        return [self.layer(x)]

    def decode(self, features):
        return features[0]

    def reset_head(self, num_classes):
        raise AssertionError


@pytest.mark.parametrize("size", [(1, 1), (16, 32), (17, 32), (32, 31), (5, 300)], ids=str)
def test_the_border_is_repeated_up_to_the_grid(size):
    x = torch.rand(2, 1, *size)
    padded = Pixelwise().to_grid(x)
    assert torch.equal(padded, F.pad(x, (0, -size[1] % 16, 0, -size[0] % 16), mode="replicate"))
    assert padded.shape != x.shape or padded is x


@pytest.mark.slow
def test_one_compiled_network_takes_sizes_on_and_off_the_grid():
    network = Pixelwise()
    compiled = torch.compile(network, dynamic=True)
    for size in ((40, 56), (64, 33), (32, 48)):
        x = torch.rand(1, 1, *size)
        torch.testing.assert_close(compiled(x), network(x))
