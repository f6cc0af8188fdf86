"""What a network costs: parameters and multiply-adds, truly and as the papers' counter sees them.

Everything here runs on the meta device: shapes are propagated, nothing is computed, no memory is taken.

Conventions let a module speak for itself. Two are methods called with the positional inputs of ``forward`` and its
output, whose answer replaces whatever is counted inside the module:

* ``true_macs(inputs, output) -> int`` where the function needs fewer products than the operations that compute it
  (tiled attention), or needs products that are no matrix product (attention by shifts);
* ``published_macs(inputs, output) -> int`` where the papers' counter, applied to the published module, sees other
  layers than ours has (a linear layer written as a matrix product, say). Of its parameters those in stock layers count.

And ``published_places``, a number, says in how many places the published code registers what is registered once here.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from glocal.nn import DilatedConv2d, PointwiseConv2d

__all__ = [
    "Complexity",
    "PapersCount",
    "StageCost",
    "complexity",
    "count_parameters",
    "multiply_adds",
    "papers_count",
    "stages",
]


@dataclass(frozen=True)
class PapersCount:
    """What ``thop`` 0.1 reports for the published form of a network."""

    parameters: int
    """Numbers in layers that it knows and that ran; tables, position embeddings and its own layer types are missing."""
    multiply_adds: int
    """Products of convolutions and linear layers, and its charges for norms, pooling and up-sampling."""


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage, as :func:`stages` names them; ``"(other)"`` is what happens outside all of them."""

    name: str
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Complexity:
    """The cost of one forward pass in eval mode."""

    parameters: int
    """Trainable numbers; a tensor used twice counts once."""
    multiply_adds: int
    """Products of convolutions (transposed ones rightly), linear layers and attention."""
    papers: PapersCount
    stages: tuple[StageCost, ...]


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module; a tensor used twice counts once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def multiply_adds(network: nn.Module, size: tuple[int, int], *, in_channels: int | None = None, batch: int = 1) -> int:
    """True multiply-adds of one forward pass in eval mode: convolutions, linear layers, attention products.

    Norms, activations, pooling and interpolation are not multiply-adds and are not counted.

    Args:
        network: Left as it is; a copy on the meta device is run.
        size: Height and width of the input.
        in_channels: Channels of the input; default: ``network.in_channels``.
        batch: Images in the input.
    """
    return complexity(network, size, in_channels=in_channels, batch=batch).multiply_adds


def papers_count(
    network: nn.Module, size: tuple[int, int], *, in_channels: int | None = None, batch: int = 1
) -> PapersCount:
    """Count as ``thop`` 0.1, the papers' counter, does, with its errors, so that their tables can be read.

    Its rules: stock layer classes only; a convolution costs output elements × input channels per group × kernel
    elements, also a transposed one (``stride²`` times too much); batch, layer and instance norms cost 4 an element
    (2 without affine parameters); bilinear up-sampling by a module 11 an output element, nearest 1; adaptive average
    pooling by a module its window + 1 an output element, other average pooling 1. Functional calls cost nothing:
    attention products, interpolation, pooling. A layer registered in k places counts k times its parameters and k²
    times its products. Checked against the figures in the tables of the LM-Net paper.

    Args:
        network: Left as it is; a copy on the meta device is run.
        size: Height and width of the input.
        in_channels: Channels of the input; default: ``network.in_channels``.
        batch: Images in the input.
    """
    return complexity(network, size, in_channels=in_channels, batch=batch).papers


def complexity(
    network: nn.Module, size: tuple[int, int], *, in_channels: int | None = None, batch: int = 1
) -> Complexity:
    """Count parameters and multiply-adds, truly and as the papers' counter, in all and by stage.

    Args:
        network: Left as it is; a copy on the meta device is run, in eval mode.
        size: Height and width of the input.
        in_channels: Channels of the input; default: ``network.in_channels``.
        batch: Images in the input.
    """
    if in_channels is None:
        in_channels = int(getattr(network, "in_channels", 3))
    ghost = copy.deepcopy(network).to("meta").eval()
    x = torch.empty(batch, in_channels, *size, device="meta", dtype=_dtype(ghost))
    truth = _TrueCounter(ghost)
    papers = _PapersCounter(ghost)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for handle in (*truth.handles, *papers.handles):
            stack.callback(handle.remove)
        stack.enter_context(truth.mode)
        ghost(x)
    costs = tuple(StageCost(name, count_parameters(stage), truth.by_stage[name]) for name, stage in stages(ghost))
    total, parameters = truth.total(), count_parameters(ghost)
    rest = StageCost(
        "(other)", parameters - sum(s.parameters for s in costs), total - sum(s.multiply_adds for s in costs)
    )
    if rest.parameters > 0 or rest.multiply_adds:
        costs = (*costs, rest)
    return Complexity(parameters, total, papers.result(ghost), costs)


def stages(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of the top-level children; a list or dictionary of modules gives its members."""
    for name, child in network.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{name}.{inner}", module) for inner, module in child.named_children())
        else:
            yield name, child


def _dtype(network: nn.Module) -> torch.dtype:
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)


class _TrueCounter:
    """PyTorch's own counter (halved), with what modules say of themselves put in place of it.

    On the meta device it sees attention as matrix products; on the CPU it would miss the fused kernel.
    """

    def __init__(self, network: nn.Module) -> None:
        self.mode = FlopCounterMode(display=False)
        self.by_stage: Counter[str] = Counter()
        self._correction = 0
        self.handles: list[RemovableHandle] = []
        for name, stage in stages(network):
            self._around(stage, partial(self._book, name))
        for module in network.modules():
            if callable(getattr(module, "true_macs", None)):
                self._around(module, partial(self._correct, module))

    def total(self) -> int:
        return int(self.mode.get_total_flops()) // 2 + self._correction

    def _book(self, name: str, spent: int, _inputs: tuple[Any, ...], _output: Any) -> None:
        self.by_stage[name] += spent

    def _correct(self, module: Any, spent: int, inputs: tuple[Any, ...], output: Any) -> None:
        self._correction += module.true_macs(inputs, output) - spent

    def _around(self, module: nn.Module, then: Callable[[int, tuple[Any, ...], Any], None]) -> None:
        """Call ``then`` with what was spent inside ``module``, its inputs and its output, at each of its calls."""
        before: list[int] = []

        def start(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
            before.append(self.total())

        def stop(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            then(self.total() - before.pop(), inputs, output)

        self.handles += [
            module.register_forward_pre_hook(start),
            # A module's own word comes before the sum of the stage that it is.
            module.register_forward_hook(stop, prepend=True),
        ]


class _PapersCounter:
    def __init__(self, network: nn.Module) -> None:
        self.spent: Counter[nn.Module] = Counter()
        self.ran: set[nn.Module] = set()
        self.handles = [module.register_forward_hook(self._seen) for module in dict.fromkeys(_counted(network))]

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        claim = getattr(module, "published_macs", None)
        self.ran.add(module)
        self.spent[module] += (
            claim(inputs, output) if callable(claim) else _RULES[type(module)](module, inputs[0], output)
        )

    def result(self, network: nn.Module) -> PapersCount:
        products = parameters = 0
        for module, places in Counter(_counted(network)).items():
            products += self.spent[module] * places**2
            if module in self.ran:
                known = [part for part in module.modules() if type(part) in _RULES]
                parameters += places * sum(p.numel() for part in known for p in part.parameters(recurse=False))
        return PapersCount(parameters, products)


def _counted(module: nn.Module) -> Iterator[nn.Module]:
    """Modules at which the papers' counter stops descending, once for each place where they are registered."""
    if callable(getattr(module, "published_macs", None)) or type(module) in _RULES:
        yield module
        return
    for child in module.children():
        for _ in range(getattr(child, "published_places", 1)):
            yield from _counted(child)


_Rule = Callable[[Any, Tensor, Tensor], int]


def _convolution(layer: Any, x: Tensor, y: Tensor) -> int:
    return int(y.numel() * (x.shape[1] // layer.groups) * prod(layer.kernel_size))


def _linear(layer: Any, _x: Tensor, y: Tensor) -> int:
    return int(y.numel() * layer.in_features)


def _norm(layer: Any, x: Tensor, _y: Tensor) -> int:
    affine = getattr(layer, "affine", False) or getattr(layer, "elementwise_affine", False)
    return x.numel() * (4 if affine else 2)


def _upsample(layer: Any, _x: Tensor, y: Tensor) -> int:
    each: dict[str, int] = {"nearest": 1, "linear": 5, "bilinear": 11, "trilinear": 31, "bicubic": 259}
    return each.get(layer.mode, 0) * y.numel()


def _average_pool(_layer: Any, _x: Tensor, y: Tensor) -> int:
    return y.numel()


def _adaptive_pool(_layer: Any, x: Tensor, y: Tensor) -> int:
    window = prod(i // o for i, o in zip(x.shape[2:], y.shape[2:], strict=True))
    return int((window + 1) * y.numel())


def _softmax(layer: Any, x: Tensor, _y: Tensor) -> int:
    features = int(x.shape[layer.dim])
    return x.numel() // features * (3 * features - 1)


_RULES: dict[type, _Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d, DilatedConv2d, PointwiseConv2d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm), _norm),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _norm),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_pool),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
    nn.Linear: _linear,
    nn.Softmax: _softmax,
}
"""Exact classes; a subclass is not counted, as the counter does not know it."""
