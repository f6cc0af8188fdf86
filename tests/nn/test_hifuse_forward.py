"""The whole of HiFuse against its published forward pass, gone about as its authors do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from naive_hifuse import naive_hifuse
from torch import nn

from glocal.models.hifuse import HiFuse
from glocal.models.network import deploy


@pytest.mark.parametrize("size", [(32, 32), (64, 224)])
@pytest.mark.parametrize("options", [{}, {"channel_gate": "double_sigmoid", "irmlp": "depthwise", "window_size": 5}])
def test_it_is_the_published_forward_pass(options: dict[str, Any], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = HiFuse(widths=(32, 64, 96, 128), num_heads=(1, 2, 3, 4), **options).double()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (part.bias, part.running_mean):
                tensor.data.uniform_(-0.5, 0.5)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), naive_hifuse(network, x), atol=1e-11, rtol=0)
        network.eval()
        torch.testing.assert_close(network(x), naive_hifuse(network, x), atol=1e-11, rtol=0)
        torch.testing.assert_close(deploy(network)(x), naive_hifuse(network, x), atol=1e-11, rtol=0)
