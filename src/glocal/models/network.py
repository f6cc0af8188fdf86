"""What every registered network is: the protocol of forward, features, head and deployment."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["FeatureInfo", "Features", "Network", "SegmentationNetwork", "deploy"]


@dataclass(frozen=True)
class FeatureInfo:
    """One map of a feature pyramid: its channels and by how much it is smaller than the input."""

    channels: int
    stride: int


class Network(nn.Module, ABC):
    """Base of every registered network.

    A subclass sets ``in_channels``, ``num_classes``, ``grid`` (height and width are padded up to a multiple of it
    inside :meth:`forward`, and the result cropped), ``padding`` where it is not ``"edge"``, and ``feature_info``, and
    defines :meth:`encode`, :meth:`decode` and :meth:`reset_head`. Modules that have a cheaper equivalent define a
    method ``merge()`` (idempotent, in place), which :func:`deploy` calls on all of them.
    """

    in_channels: int
    num_classes: int
    grid: int
    padding: Literal["edge", "zero"] = "edge"
    """What is put at the bottom and right of an image that is not on the grid: its border repeated, or zeros."""
    feature_info: tuple[FeatureInfo, ...]

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Feature maps, finest first, in the order of ``feature_info``; ``x`` is on the grid."""

    @abstractmethod
    def decode(self, features: list[Tensor]) -> Tensor:
        """Logits from the maps of :meth:`encode`."""

    @abstractmethod
    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs."""

    def to_grid(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, padded at the bottom and right until H and W are multiples of ``grid``.

        Raises:
            ValueError: ``x`` has not four dimensions, or not ``in_channels`` channels.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} takes (N, {self.in_channels}, H, W), got {tuple(x.shape)}; "
                f"make the network with in_channels={x.shape[1] if x.ndim == 4 else '…'} or convert the image"
            )
        for axis in (2, 3):
            side = x.shape[axis]
            up = -(-side // self.grid) * self.grid
            if up != side and self.padding == "zero":
                missing = [*x.shape[:axis], up - side, *x.shape[axis + 1 :]]
                x = torch.cat([x, x.new_zeros(missing)], axis)
            elif up != side:  # not by F.pad: PyTorch cannot compile it for sizes that vary
                x = x.index_select(axis, torch.arange(up, device=x.device).clamp(max=side - 1))
        return x

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """``(N, C, H, W)`` -> maps ``(N, channels, ceil(H / stride), ceil(W / stride))``, finest first."""
        height, width = x.shape[-2:]
        maps = self.encode(self.to_grid(x))
        sizes = [(-(-height // f.stride), -(-width // f.stride)) for f in self.feature_info]
        return [m[..., :h, :w] for m, (h, w) in zip(maps, sizes, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> logits; see the network for their shape."""
        return self.decode(self.encode(self.to_grid(x)))


class SegmentationNetwork(Network):
    """A network whose logits have the size of its input: ``(N, C, H, W)`` -> ``(N, num_classes, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> logits ``(N, num_classes, H, W)`` (no softmax); any H and W."""
        return super().forward(x)[..., : x.shape[-2], : x.shape[-1]]


class Features(nn.Module):
    """A network reduced to its feature pyramid: ``(N, C, H, W)`` -> list of maps, finest first.

    ``feature_info`` gives channels and stride of each map. Parameters that only the decoder uses are kept frozen,
    so that a training loop with unused-parameter checks accepts it.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.feature_info = network.feature_info
        _freeze_what_features_do_not_use(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return ``network.forward_features(x)``."""
        return self.network.forward_features(x)


def _freeze_what_features_do_not_use(network: Network) -> None:
    """Ask a pass over a tiny image which parameters the features depend on, and freeze the others."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        return
    training = network.training
    side = 2 * network.grid
    with torch.enable_grad():
        maps = network.eval().forward_features(parameters[0].new_zeros(1, network.in_channels, side, side))
        total = torch.stack([m.sum() for m in maps]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    network.train(training)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def deploy(network: nn.Module) -> nn.Module:
    """Return an inference copy of ``network``: the same function with merged branches and folded norms.

    The copy is in eval mode. Deploying twice changes nothing. Output agrees with ``network.eval()`` to 1e-4.
    """
    fast = copy.deepcopy(network).eval()
    with torch.no_grad():
        for module in fast.modules():
            merge = getattr(module, "merge", None)
            if callable(merge):
                merge()
    return fast
