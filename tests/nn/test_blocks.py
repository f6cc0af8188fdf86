"""What every block promises: any size, no image sees another, gradients everywhere, the example in its docstring.

Each ``makers_*.py`` beside this file makes the blocks of one system, ``(2, 12, H, W)`` -> maps: ``MAKERS`` by name
(what follows a comma tells forms of one block apart), and where needed ``EVEN_ONLY``, ``SHAPES`` and ``SELECTING``.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from block_makers import C, maps
from torch import nn

import glocal.nn as blocks

FILES = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("makers_*.py"))]
MAKERS: dict[str, Callable[[], nn.Module]] = {name: make for file in FILES for name, make in file.MAKERS.items()}
EVEN_ONLY: set[str] = {name for file in FILES for name in getattr(file, "EVEN_ONLY", ())}
SHAPES: dict[str, Callable[[tuple[int, int]], tuple[int, ...]]] = {
    name: shape for file in FILES for name, shape in getattr(file, "SHAPES", {}).items()
}
SELECTING: set[str] = {name for file in FILES for name in getattr(file, "SELECTING", ())}
each = pytest.mark.parametrize("name", MAKERS)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MAKERS[name]()


def test_every_public_block_is_made_here() -> None:
    public = {
        n for n in blocks.__all__ if isinstance(getattr(blocks, n), type) and issubclass(getattr(blocks, n), nn.Module)
    }
    assert public == {name.partition(",")[0] for name in MAKERS}


@each
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 6), (7, 3), (9, 10)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    if name in EVEN_ONLY:
        size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    out = make(name).eval()(maps(size))
    assert out.shape == (2, *SHAPES.get(name, lambda size: (C, *size))(size))
    assert torch.isfinite(out).all()


@each
def test_no_image_of_a_batch_sees_another(name: str) -> None:
    block = make(name).eval()
    x = maps((6, 8), batch=3)
    together = block(x)
    alone = torch.cat([block(image[None]) for image in x])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=1e-5)


@each
def test_the_same_input_gives_the_same_output_and_keeps_its_layout_out_of_it(name: str) -> None:
    block = make(name).eval()
    x = maps((6, 8))
    assert torch.equal(block(x), block(x))
    torch.testing.assert_close(block(x.contiguous(memory_format=torch.channels_last)), block(x), atol=2e-6, rtol=1e-5)


@each
def test_gradients_reach_every_parameter(name: str) -> None:
    block = make(name).train()
    block(maps((6, 8), batch=4)).square().mean().backward()
    assert [n for n, p in block.named_parameters() if p.grad is None or not p.grad.any()] == []


@each
def test_bfloat16_autocast(name: str) -> None:
    block, x = make(name).eval(), maps((6, 8))
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x)
    expected = block(x)
    size = torch.mean if name in SELECTING else torch.max
    assert size((half.float() - expected).abs()) <= 5e-2 * size(expected.abs())


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(blocks.__path__)])
def test_the_examples_in_the_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"glocal.nn.{module}"), raise_on_error=False)
    assert result.failed == 0


def test_every_public_block_shows_an_example() -> None:
    silent = [
        n for n in blocks.__all__ if callable(getattr(blocks, n)) and ">>>" not in (getattr(blocks, n).__doc__ or "")
    ]
    assert silent == ["Branch"], "a kernel of ReparamConv2d, shown there"


def test_doubling_commutes_with_a_pointwise_convolution() -> None:
    up = blocks.UpsampleConv(6, 4, kernel_size=1)
    x = maps((5, 7), channels=6)
    doubled = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    torch.testing.assert_close(up(x), up.conv(doubled), atol=1e-6, rtol=1e-5)


def test_pooling_a_pyramid_averages_blocks_of_equal_size() -> None:
    fine, coarse = maps((8, 12), channels=2), maps((2, 3), channels=1)
    pooled = blocks.pyramid_pool([fine, coarse])
    torch.testing.assert_close(pooled[:, :2], fine.unflatten(3, (3, 4)).unflatten(2, (2, 4)).mean((3, 5)))
    assert torch.equal(pooled[:, 2:], coarse)


def test_squeeze_excitation_equals_its_convolutions() -> None:
    gate = blocks.SqueezeExcitation(12, 3)
    x = maps((5, 4))
    hidden = torch.relu(gate.fc1(x.mean((2, 3), keepdim=True)))
    torch.testing.assert_close(gate(x), x * nn.functional.hardsigmoid(gate.fc2(hidden)))


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda: blocks.SqueezeExcitation(8, 16), "use 1 to 8"),
        (lambda: blocks.MultiSkip(8), "give finer="),
        (lambda: blocks.GlobalAttention(10, 3), "num_heads may be 1, 2, 5, 10"),
    ],
)
def test_a_wrong_argument_names_the_cure(make, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        make()
