"""Names and shapes of the published HiPerformer's tensors, written from the table of its specification."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Shapes = Iterator[tuple[str, tuple[int, ...]]]

DEAD = (
    r"fu1\.(Updim|norm1|W3)\.",
    r"fu[234]\.(norm2|W)\.",
    r"fu\d\.spatial\.",
    r"PGA4\.PSA\.",
    r"PGA[123]\.PSA2\.",
)
"""What the published network builds and never uses."""


def conv(name: str, shape: tuple[int, ...], bias: bool = True) -> Shapes:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", shape[:1]


def bn(name: str, channels: int) -> Shapes:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def ln(name: str, channels: int) -> Shapes:
    yield from conv(name, (channels,))


def swin(c: int, depths: Sequence[int], heads: Sequence[int], window: int) -> Shapes:
    yield from conv("patch_embed.proj", (c, 3, 4, 4))
    yield from ln("patch_embed.norm", c)
    for i, (depth, h) in enumerate(zip(depths, heads, strict=True)):
        w = c * 2**i
        for j in range(depth):
            at = f"layers.{i}.blocks.{j}"
            yield from ln(f"{at}.norm1", w)
            yield f"{at}.attn.relative_position_bias_table", ((2 * window - 1) ** 2, h)
            yield f"{at}.attn.relative_position_index", (window**2, window**2)
            yield from conv(f"{at}.attn.qkv", (3 * w, w))
            yield from conv(f"{at}.attn.proj", (w, w))
            yield from ln(f"{at}.norm2", w)
            yield from conv(f"{at}.mlp.fc1", (4 * w, w))
            yield from conv(f"{at}.mlp.fc2", (w, 4 * w))
        if i < 3:
            yield from conv(f"layers.{i}.downsample.reduction", (2 * w, 4 * w), bias=False)
            yield from ln(f"layers.{i}.downsample.norm", 4 * w)
        yield from ln(f"norm{i}", w)


def drcnn(c: int) -> Shapes:
    yield from conv("conv1", (c // 2, 3, 7, 7))
    yield from bn("bn1", c // 2)
    for i in range(4):
        entering, w = c * 2**i // 2, c * 2**i
        for path in ("resblock", "dilated_resblock"):
            at = f"layers.{2 * i + 1}.{path}"
            for k, inner in ((1, entering), (2, w)):
                yield f"{at}.conv{k}.weight", (w, inner, 3, 3)
                yield from bn(f"{at}.bn{k}", w)
            yield f"{at}.shortcut.0.weight", (w, entering, 1, 1)
            yield from bn(f"{at}.shortcut.1", w)
        yield from conv(f"layers.{2 * i + 1}.fusionblock.conv", (w, 2 * w, 1, 1))
        yield from bn(f"layers.{2 * i + 1}.fusionblock.bn", w)


def lgff(w: int, depthwise: bool) -> Shapes:
    for name, entering in (("W_l", w), ("W_g", w), ("Updim", w // 2), ("W3", 3 * w), ("W", 2 * w)):
        yield from conv(f"{name}.conv", (w, entering, 1, 1))
        yield from bn(f"{name}.bn", w)
    for name, size in (("norm1", 3 * w), ("norm2", 2 * w), ("norm3", 3 * w)):
        yield from ln(name, size)
    yield "CAM.gamma", (1,)
    yield from conv("SAM.conv1", (w // 4, w, 7, 7))
    yield from bn("SAM.bn", w // 4)
    yield from conv("SAM.conv2", (w, w // 4, 7, 7))
    yield from bn("SAM.bn1", w)
    yield "residual.conv1.conv.weight", (3 * w, 1 if depthwise else 3 * w, 3, 3)
    yield from bn("residual.bn1", 3 * w)
    yield "residual.conv2.conv.weight", (12 * w, 3 * w, 1, 1)
    yield "residual.conv3.conv.weight", (w, 12 * w, 1, 1)
    yield from bn("residual.conv3.bn", w)
    yield "spatial.conv.weight", (1, 2, 7, 7)
    yield from bn("spatial.bn", 1)


def pmi(c: int) -> Shapes:
    sizes = {"conv4_2": (8, 4), "conv3_1": (4, 4), "conv3_2": (4, 2), "conv2_1": (2, 2), "conv2_2": (2, 1)}
    for name, (a, b) in {**sizes, "conv1_1": (1, 1)}.items():
        yield from conv(f"{name}.0", (b * c, a * c, 3, 3))
        yield from bn(f"{name}.1", b * c)
        yield from conv(f"{name}.3", (b * c, b * c, 1, 1))
        yield from bn(f"{name}.4", b * c)


def psa(n: int, reduction: int) -> Shapes:
    part = n // 4
    for i, (kernel, groups) in enumerate(((3, 1), (5, 4), (7, 8), (9, 16))):
        yield from conv(f"conv_{i + 1}", (part, n // math.gcd(groups, part), kernel, kernel))
    yield from conv("se.fc1", (max(1, part // reduction), part, 1, 1))
    yield from conv("se.fc2", (part, max(1, part // reduction), 1, 1))


def eag(w: int) -> Shapes:
    for name in ("grouped_conv_g", "grouped_conv_x"):
        yield from conv(f"{name}.0", (w // 2, w // math.gcd(32, w // 2), 1, 1))
        yield from bn(f"{name}.1", w // 2)
    yield from conv("psi.0", (1, w // 2, 1, 1))
    yield from bn("psi.1", 1)


def within(place: str, shapes: Shapes) -> Shapes:
    yield from ((f"{place}.{name}", shape) for name, shape in shapes)


def network(
    c: int,
    depths: Sequence[int],
    heads: Sequence[int],
    *,
    window: int = 7,
    classes: int = 9,
    depthwise: bool = False,
    reduction: int = 16,
) -> Shapes:
    """The whole network, without the prefix of the wrapper."""
    yield from within("backbone", swin(c, depths, heads, window))
    yield from within("DRCNN", drcnn(c))
    yield from within("PMI", pmi(c))
    for i in range(4):
        w = c * 2**i
        yield from within(f"fu{i + 1}", lgff(w, depthwise))
        yield from within(f"PGA{i + 1}.PSA", psa(2 * w, reduction))
        yield from within(f"PGA{i + 1}.PSA2", psa(w, reduction))
        if i < 3:
            yield from within(f"PGA{i + 1}.EAG", eag(w))
            yield f"decoder{i + 1}.conv.weight", (w, 2 * w, 3, 3)
            yield from bn(f"decoder{i + 1}.bn", w)
        yield from conv(f"outimage{i + 1}", (classes, w, 1, 1))


def small(prefix: str = "performerV2.", pyramid: str = "PMI.", **options: object) -> dict[str, Tensor]:
    """A checkpoint of the widths of ``hiperformer_tiny``, filled at random."""
    given = {"c": 16, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "classes": 4, "reduction": 2, **options}
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in network(**given):  # type: ignore[arg-type]
        value = torch.rand(shape, generator=generator)
        if name.endswith((".num_batches_tracked", "relative_position_index")):
            value = torch.zeros(shape, dtype=torch.long)
        elif not name.endswith(("running_var", "norm.weight", "bn.weight")):
            value = (value - 0.5) / max(1, math.prod(shape[1:])) ** 0.5
        tensors[prefix + name.replace("PMI.", pyramid)] = value
    return tensors
