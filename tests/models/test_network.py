"""What every network inherits: the grid."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glocal.models.network import FeatureInfo, Features, SegmentationNetwork


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


class Toy(SegmentationNetwork):
    """Two levels, and everything that a reduction has to deal with."""

    in_channels = num_classes = 1
    grid = 2
    feature_info = (FeatureInfo(3, 1), FeatureInfo(4, 2))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 1)
        self.fine = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 1, 1), nn.Conv2d(3, 3, 1)])  # the second decodes
        self.scale = nn.Parameter(torch.ones(()))
        self.router = nn.Conv2d(3, 3, 1)  # chooses, and gets no gradient for it
        self.token = nn.Parameter(torch.zeros(3))
        self.norm = nn.BatchNorm2d(3)  # of the fine map alone
        self.down = nn.Conv2d(3, 4, 2, 2)
        self.head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))

    def encode(self, x):
        x = self.scale * self.stem(x)
        x = x * (self.router(x) > 0)
        x = self.fine[2](self.fine[0](x))
        return [self.norm(x), self.down(x)]

    def decode(self, features):
        token = self.token[:, None, None]
        return self.fine[1](features[0] + token) + F.interpolate(self.head(features[1]), scale_factor=2)

    def reset_head(self, num_classes):
        raise AssertionError


def parts(features: Features) -> set[str]:
    return {name.removeprefix("network.").rpartition(".")[0] or name for name, _ in features.named_parameters()}


def test_features_keep_what_the_maps_need_and_remove_the_rest():
    network = Toy().eval()
    x = torch.rand(1, 1, 4, 6)
    expected = network.forward_features(x)
    features = Features(network)
    assert parts(features) == {"stem", "fine.0", "fine.2", "network.scale", "router", "norm", "down"}
    assert all(torch.equal(*pair) for pair in zip(features(x), expected, strict=True))
    assert [n for n, p in features.named_parameters() if not p.requires_grad] == [
        "network.router.weight",
        "network.router.bias",
    ]
    assert not network.training
    assert network.token is None
    assert not hasattr(network, "head")


def test_features_of_some_levels_need_less():
    features = Features(Toy(), levels=[1])
    assert features.feature_info == (FeatureInfo(4, 2),)
    assert [tuple(m.shape) for m in features(torch.rand(1, 1, 3, 6))] == [(1, 4, 2, 3)]
    # The norm was called, so that it cannot be removed; it is frozen.
    assert not features.network.norm.weight.requires_grad
    with pytest.raises(ValueError, match="has levels 0 to 1"):
        Features(Toy(), levels=[2])


def test_what_was_frozen_stays_frozen_and_is_still_seen_to_be_used():
    network = Toy().requires_grad_(False)
    network.norm.eval()
    features = Features(network)
    assert "stem" in parts(features)
    assert not any(p.requires_grad for p in features.parameters())
    assert network.training
    assert not network.norm.training


def test_a_network_made_in_inference_mode_is_reduced_alike():
    with torch.inference_mode():
        features = Features(Toy())
    assert parts(features) == parts(Features(Toy()))
