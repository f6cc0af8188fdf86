"""Neighbourhood attention against loops over pixels, in every form and at every border."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from glocal.nn import NeighborhoodAttention2d, neighborhood, neighborhood_attention

FORMS = [neighborhood._shifted, neighborhood._tiled]


def loops(q: Tensor, k: Tensor, v: Tensor, window: int, bias: Tensor | None = None) -> NDArray[np.float64]:
    """The definition, one query at a time."""
    q_, k_, v_ = (t.detach().double().numpy() for t in (q, k, v))
    batch, height, width, heads, channels = q_.shape
    out = np.zeros_like(q_)
    for n, i, j, h in np.ndindex(batch, height, width, heads):
        top = min(max(i - window // 2, 0), height - window)
        left = min(max(j - window // 2, 0), width - window)
        pixels = [(y, x) for y in range(top, top + window) for x in range(left, left + window)]
        logits = []
        for y, x in pixels:
            logit = float(q_[n, i, j, h] @ k_[n, y, x, h]) / math.sqrt(channels)
            if bias is not None:
                logit += float(bias[h, y - i + window - 1, x - j + window - 1])
            logits.append(logit)
        weights = np.exp(np.array(logits) - max(logits))
        weights /= weights.sum()
        out[n, i, j, h] = sum(w * v_[n, y, x, h] for w, (y, x) in zip(weights, pixels, strict=True))
    return out


def qkv(batch: int, height: int, width: int, heads: int, channels: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, height, width, heads, channels, generator=generator).double() for _ in range(3)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("height", "width", "window"), [(3, 3, 3), (5, 9, 3), (8, 4, 3), (7, 7, 7), (9, 13, 7), (6, 5, 5), (4, 6, 1)]
)
def test_both_forms_equal_the_loops(form, biased: bool, height: int, width: int, window: int) -> None:
    q, k, v = qkv(2, height, width, heads=2, channels=3)
    side = 2 * window - 1
    bias = torch.randn(2, side, side, generator=torch.Generator().manual_seed(1)).double() if biased else None
    out = form(q, k, v, window, bias, 3**-0.5)
    np.testing.assert_allclose(out.numpy(), loops(q, k, v, window, bias), atol=1e-12)


@pytest.mark.parametrize(("channels", "window"), [(1, 3), (8, 3), (4, 7), (32, 7), (2, 5)])
def test_the_public_function_equals_the_loops_whichever_form_it_takes(channels: int, window: int) -> None:
    q, k, v = qkv(1, 8, 11, heads=2, channels=channels)
    np.testing.assert_allclose(neighborhood_attention(q, k, v, window).numpy(), loops(q, k, v, window), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_every_input_are_the_numerical_ones(form) -> None:
    q, k, v = (t.requires_grad_() for t in qkv(1, 4, 5, heads=2, channels=2))
    bias = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *t: form(*t[:3], 3, t[3], 0.7), (q, k, v, bias))


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = qkv(2, 13, 7, heads=2, channels=2)
    bias = torch.randn(2, 5, 5, dtype=torch.float64)
    whole = neighborhood._shifted(q, k, v, 3, bias, 1.0)
    monkeypatch.setattr(neighborhood, "_strip_rows", lambda *_: 4)
    torch.testing.assert_close(neighborhood._shifted(q, k, v, 3, bias, 1.0), whole, atol=1e-14, rtol=0)


@pytest.mark.parametrize("tile", [1, 3, 8])
def test_the_side_of_the_tiles_changes_nothing(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = qkv(2, 10, 7, heads=2, channels=4)
    bias = torch.randn(2, 9, 9, dtype=torch.float64)
    expected = neighborhood._shifted(q, k, v, 5, bias, 1.0)
    monkeypatch.setattr(neighborhood, "_TILE", tile)
    torch.testing.assert_close(neighborhood._tiled(q, k, v, 5, bias, 1.0), expected, atol=1e-12, rtol=0)


def test_a_pixel_outside_the_window_has_no_influence() -> None:
    q, k, v = (t.requires_grad_() for t in qkv(1, 9, 9, heads=1, channels=4))
    neighborhood_attention(q, k, v, 3)[0, 0, 4].sum().backward()
    assert v.grad is not None
    touched = {(int(y), int(x)) for y, x in v.grad[0, :, :, 0, 0].nonzero()}
    assert touched == {(y, x) for y in (0, 1, 2) for x in (3, 4, 5)}, "row 0 looks at the window of row 1"


@pytest.mark.parametrize("size", [(2, 5), (1, 1), (5, 2)])
@pytest.mark.parametrize("biased", [False, True])
def test_a_map_smaller_than_the_window_is_padded_with_zeros_before_the_projection(size, biased: bool) -> None:
    attention = NeighborhoodAttention2d(12, 4, 3, rel_pos_bias=biased).double()
    x = torch.randn(2, *size, 12, dtype=torch.float64)
    padded = torch.zeros(2, max(3, size[0]), max(3, size[1]), 12, dtype=torch.float64)
    padded[:, : size[0], : size[1]] = x
    torch.testing.assert_close(attention(x), attention(padded)[:, : size[0], : size[1]], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("window", "channels", "heads"), [(3, 12, 4), (7, 64, 2)])
def test_a_mask_made_in_inference_mode_serves_training(window: int, channels: int, heads: int) -> None:
    neighborhood._cached_mask.cache_clear()
    attention = NeighborhoodAttention2d(channels, heads, window)
    x = torch.randn(1, 9, 8, channels)
    with torch.inference_mode():
        attention(x)
    copy.deepcopy(attention)(x).sum().backward()
    assert set(attention.state_dict()) == {"qkv.weight", "qkv.bias", "proj.weight", "proj.bias"}


@pytest.mark.parametrize(("window", "channels", "heads"), [(3, 12, 4), (7, 64, 2)])
@pytest.mark.parametrize("biased", [False, True])
def test_it_compiles_without_a_break_and_exports(window: int, channels: int, heads: int, biased: bool) -> None:
    attention = NeighborhoodAttention2d(channels, heads, window, rel_pos_bias=biased).eval()
    x = torch.randn(2, 9, 8, channels)
    expected = attention(x)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(attention, fullgraph=True, backend="eager")(x), expected)
    torch.testing.assert_close(torch.export.export(attention, (x,)).module()(x), expected)


@pytest.mark.parametrize(("arguments", "cure"), [((24, 5), "num_heads may be 1, 2, 3"), ((24, 4, 4), "odd")])
def test_a_wrong_argument_names_the_cure(arguments, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        NeighborhoodAttention2d(*arguments)


def test_the_function_refuses_a_window_larger_than_the_map() -> None:
    with pytest.raises(ValueError, match="smaller kernel_size"):
        neighborhood_attention(*qkv(1, 5, 9, 1, 2), kernel_size=7)
