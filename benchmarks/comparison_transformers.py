"""Equivalent forms in the comparison networks with transformers: ``python benchmarks/comparison_transformers.py``.

Each line is something computed as published and as it is here, with the sizes of 256×256 images, in evaluation. Times
are CPU time of one thread; below 1 the form in use is faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from comparison_blocks import medians
from glocal.models.network import deploy
from glocal.models.transunet import HybridTrunk
from glocal.nn import ChannelCrossAttention, ChannelCrossTransformer, PatchExpanding

WIDTHS = (64, 128, 256, 512)
"""Of UCTransNet's skips."""


def head_by_head(attention: ChannelCrossAttention, scales: Sequence[Tensor], together: Tensor) -> list[Tensor]:
    """UCTransNet's attention with a projection and a product for each head."""
    heads, total = attention.num_heads, together.shape[-1]
    keys, values = (
        [together @ weight.T for weight in layer.weight.chunk(heads)] for layer in (attention.k, attention.v)
    )
    mixed = []
    for x, query, proj in zip(scales, attention.q, attention.proj, strict=True):
        assert isinstance(query, nn.Linear)
        queries = torch.stack([x @ weight.T for weight in query.weight.chunk(heads)], 1).transpose(2, 3)
        scores = F.instance_norm(queries @ torch.stack(keys, 1) / total**0.5)
        context = scores.softmax(-1) @ torch.stack(values, 1).transpose(2, 3)
        mixed.append(proj(context.transpose(2, 3).mean(1)))
    return mixed


def repeated_first(block: nn.Module, tokens: Tensor, times: int) -> Tensor:
    """UCTransNet's reconstruction with every pixel repeated before the convolution."""
    return F.relu(block.get_submodule("layer")(F.interpolate(tokens, scale_factor=times)))


def forms() -> Iterator[tuple[str, Callable[[], Tensor], Callable[[], Tensor]]]:
    """What it is, the form in use, the plain one."""
    attention = ChannelCrossAttention(WIDTHS).eval()
    scales = [torch.randn(1, 256, width) for width in WIDTHS]
    together = torch.cat(scales, -1)
    yield (
        "UCTransNet, channel attention",
        lambda: torch.cat(attention(scales, together), -1),
        lambda: torch.cat(head_by_head(attention, scales, together), -1),
    )
    transformer = ChannelCrossTransformer(WIDTHS, depth=0).eval()
    for i, width in enumerate(WIDTHS):
        block, tokens, times = transformer.reconstruct[i], torch.randn(1, width, 16, 16), 16 // 2**i
        yield (
            f"UCTransNet, reconstruction {i + 1}",
            partial(block, tokens),
            partial(repeated_first, block, tokens, times),
        )
    expand, head = PatchExpanding(96, 96, 4), nn.Linear(96, 2, bias=False)
    x = torch.randn(1, 64, 64, 96)
    yield (
        "Swin-Unet, last expansion and head",
        lambda: expand.spread(head(expand.patches(x))),
        lambda: head(expand(x)),
    )
    trunk = HybridTrunk().eval()
    fast, image = deploy(trunk), torch.rand(1, 3, 256, 256)
    yield "TransUNet's trunk, deployed", lambda: fast(image)[-1], lambda: trunk(image)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode():
        for what, ours, plain in forms():
            worst = (ours() - plain()).abs().max().item()
            assert worst < 1e-4, f"the forms of {what} differ by {worst}"
            used, published = medians([ours, plain], repeats)
            ratio = used / published
            print(f"{what:36} {used:8.1f} ms  plain {published:8.1f} ms  ratio {ratio:5.2f}", flush=True)


if __name__ == "__main__":
    main()
