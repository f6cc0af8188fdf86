"""Windowed attention against its definition, written out in loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_window_attention import naive_window_attention

from glocal.nn import WindowAttention


def block(**options) -> WindowAttention:
    torch.manual_seed(0)
    made = WindowAttention(8, 2, **options).double().eval()
    torch.nn.init.normal_(made.relative_position_bias_table)
    return made


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    window=st.integers(1, 4),
    shift=st.integers(0, 3),
    qkv_bias=st.booleans(),
)
def test_it_is_attention_window_by_window(size, window: int, shift: int, qkv_bias: bool) -> None:
    attention = block(window_size=window, shift=min(shift, window - 1), qkv_bias=qkv_bias)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = naive_window_attention(attention, x, attention.shift)
        torch.testing.assert_close(attention(x), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("size", "shifted"), [((4, 4), False), ((3, 4), False), ((4, 9), False), ((5, 5), True)])
def test_a_map_of_one_window_is_shifted_only_where_asked(size, shifted: bool) -> None:
    always = block(window_size=4, shift=True)
    classic = block(window_size=4, shift=True, shift_single_window=False)
    x = torch.randn(1, *size, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(always(x), naive_window_attention(always, x, 2), atol=1e-12, rtol=0)
        expected = naive_window_attention(classic, x, 2 if shifted else 0)
        torch.testing.assert_close(classic(x), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shift", [False, True])
def test_gradients_are_those_of_the_definition(shift: bool) -> None:
    attention = block(window_size=3, shift=shift)
    x = torch.randn(1, 5, 7, 8, dtype=torch.float64)
    attention(x).square().sum().backward()
    fast = {name: p.grad for name, p in attention.named_parameters() if "table" not in name}
    attention.zero_grad()
    naive_window_attention(attention, x, attention.shift).square().sum().backward()
    for name, gradient in fast.items():
        torch.testing.assert_close(gradient, dict(attention.named_parameters())[name].grad, atol=1e-10, rtol=1e-8)


def test_the_gradient_of_the_bias_table_is_the_slope() -> None:
    attention = block(window_size=2, shift=True)
    x = torch.randn(1, 3, 5, 8, dtype=torch.float64)

    def loss(table: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(attention, {"relative_position_bias_table": table}, x).square().sum()

    assert torch.autograd.gradcheck(loss, (attention.relative_position_bias_table.detach().requires_grad_(),))


def test_dropout_acts_in_training_alone() -> None:
    attention = block(window_size=3, attention_dropout=0.5, dropout=0.5)
    x = torch.randn(1, 6, 6, 8, dtype=torch.float64)
    assert torch.equal(attention(x), attention(x))
    attention.train()
    assert not torch.equal(attention(x), attention(x))


def test_it_is_built_on_the_meta_device_and_filled_later() -> None:
    with torch.device("meta"):
        ghost = WindowAttention(8, 2, 4, shift=True).eval()
        assert ghost(torch.empty(2, 9, 5, 8)).shape == (2, 9, 5, 8)
    real = WindowAttention(8, 2, 4, shift=True).eval()
    ghost.load_state_dict(real.state_dict(), assign=True)
    x = torch.randn(1, 9, 5, 8)
    assert torch.equal(ghost(x), real(x))


@pytest.mark.slow
def test_it_is_exported_with_any_batch() -> None:
    attention = block(window_size=3, shift=True)
    x = torch.randn(2, 5, 7, 8, dtype=torch.float64)
    batch = torch.export.Dim("batch", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(attention, (x,), dynamic_shapes=({0: batch},)).module()
        for n in (1, 5):
            more = torch.randn(n, 5, 7, 8, dtype=torch.float64)
            torch.testing.assert_close(program(more), attention(more))


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"num_heads": 3}, "use a divisor"),
        ({"num_heads": 2, "window_size": 0}, "at least 1"),
        ({"num_heads": 2, "window_size": 4, "shift": 4}, "below the window's side, 4"),
        ({"num_heads": 2, "dropout": 1.0}, "probability"),
        ({"num_heads": 2, "attention_dropout": -0.1}, "probability"),
    ],
)
def test_a_wrong_argument_names_the_cure(options, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        WindowAttention(8, **options)
