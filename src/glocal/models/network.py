"""What every registered network is: the protocol of forward, features, head and deployment."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = ["FeatureInfo", "Features", "Network", "PretrainedPart", "SegmentationNetwork", "deploy"]


@dataclass(frozen=True)
class FeatureInfo:
    """One map of a feature pyramid: its channels and by how much it is smaller than the input."""

    channels: int
    stride: int


@dataclass(frozen=True)
class PretrainedPart:
    """Where the weights of another network fit."""

    theirs: str
    """What the names of its tensors that belong here begin with (ours of that network); ``""``: all belong."""
    ours: str
    """What stands there instead in this network, such as ``"backbone."``."""


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
    pretrained_parts: Mapping[str, PretrainedPart] = MappingProxyType({})
    """Family of networks -> the part of this one that weights of theirs fit (those of a backbone, from ImageNet)."""

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

    def training_outputs(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """What training takes the loss of: logits, shaped as :meth:`forward`'s, each with the weight of its loss.

        One pair; a network with auxiliary heads or deep supervision gives more.
        """
        return [(self(x), 1.0)]


class SegmentationNetwork(Network):
    """A network whose logits have the size of its input: ``(N, C, H, W)`` -> ``(N, num_classes, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> logits ``(N, num_classes, H, W)`` (no softmax); any H and W."""
        return super().forward(x)[..., : x.shape[-2], : x.shape[-1]]


class Features(nn.Module):
    """A network reduced to its feature pyramid: ``(N, C, H, W)`` -> list of maps, finest first.

    ``feature_info`` gives channels and stride of each map. The network is taken over: what the maps do not need (the
    decoder, the head) is removed from it, and it gives no logits any more.

    Args:
        network: To be reduced, in place.
        levels: Which maps, by their place in ``network.feature_info``; None: all.

    Raises:
        ValueError: There is no such level.
    """

    def __init__(self, network: Network, levels: Sequence[int] | None = None) -> None:
        super().__init__()
        there = range(len(network.feature_info))
        self.levels = tuple(there if levels is None else levels)
        if not self.levels or any(level not in there for level in self.levels):
            raise ValueError(f"levels is {list(self.levels)}; {type(network).__name__} has levels 0 to {there[-1]}")
        self.network = network
        self.feature_info = tuple(network.feature_info[level] for level in self.levels)
        _remove_what_features_do_not_use(network, self.levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """``(N, C, H, W)`` -> maps ``(N, channels, ceil(H / stride), ceil(W / stride))``, finest first."""
        maps = self.network.forward_features(x)
        return [maps[level] for level in self.levels]


def _remove_what_features_do_not_use(network: Network, levels: Sequence[int]) -> None:
    """Ask a pass over a tiny image what the maps depend on, and remove the parameters and modules that they do not.

    A module goes if it holds parameters, none of them used, and was not called. One that was called although its
    parameters are not used (where no gradient passes, such as a hard choice) stays, frozen.
    """
    used, called = _trial(network, levels)

    def needed(module: nn.Module) -> bool:
        held = list(module.parameters())
        return not held or any(id(p) in used for p in held) or any(m in called for m in module.modules())

    def reduce(module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            if needed(child):
                reduce(child)
            elif isinstance(module, nn.ModuleList | nn.Sequential):
                setattr(module, name, nn.Identity())  # the others keep their places
            else:
                delattr(module, name)
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in used and module in called:
                parameter.requires_grad_(False)
            elif id(parameter) not in used:
                module.register_parameter(name, None)

    reduce(network)


def _trial(network: Network, levels: Sequence[int]) -> tuple[set[int], set[nn.Module]]:
    """``id`` of the parameters that the maps depend on, and the modules that were called on the way.

    It is a twin on the meta device that is tried: nothing is computed, and the network is left as it is.
    """
    with torch.inference_mode(False), torch.enable_grad():
        tensors = [*network.parameters(), *network.buffers()]
        memo: dict[int, Any] = {id(t): torch.empty_like(t, device="meta", requires_grad=False) for t in tensors}
        for parameter in network.parameters():
            memo[id(parameter)] = nn.Parameter(memo[id(parameter)], requires_grad=True)
        pairs = [(id(parameter), memo[id(parameter)]) for parameter in network.parameters()]
        twin = copy.deepcopy(network, memo).eval()
        called: set[nn.Module] = set()
        for module in twin.modules():
            module.register_forward_pre_hook(lambda module, _: called.add(module))
        side = 2 * network.grid
        like = tensors[0] if tensors else torch.empty(())
        maps = twin.forward_features(like.new_empty(1, network.in_channels, side, side, device="meta"))
        leaves = _leaves([maps[level] for level in levels])
    used = {parameter for parameter, stand_in in pairs if id(stand_in) in leaves}
    return used, {module for module, other in zip(network.modules(), twin.modules(), strict=True) if other in called}


def _leaves(outputs: Sequence[Tensor]) -> set[int]:
    """``id`` of every leaf of the autograd graph behind ``outputs``."""
    found: set[int] = set()
    seen: set[Any] = set()
    ahead = [x.grad_fn for x in outputs]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        ahead += [following for following, _ in node.next_functions]
    return found


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
