"""The two-layer perceptron of a transformer block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Mlp"]


class Mlp(nn.Module):
    """Linear -> GELU -> dropout -> linear -> dropout, on the last axis.

    Args:
        in_features: Width of the input.
        hidden_features: Width of the middle.
        out_features: Width of the output; default: that of the input.
        dropout: Probability behind each layer, in training.

    Raises:
        ValueError: ``dropout`` is not a probability below 1, or the middle has no channel.

    Example:
        >>> import torch
        >>> from glocal.nn import Mlp
        >>> Mlp(24, 48)(torch.rand(2, 30, 24)).shape
        torch.Size([2, 30, 24])
    """

    def __init__(
        self, in_features: int, hidden_features: int, out_features: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it is a probability, at least 0 and below 1")
        if hidden_features < 1:
            raise ValueError(f"the perceptron's middle has {hidden_features} channels; it needs at least 1")
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.fc2 = nn.Linear(hidden_features, in_features if out_features is None else out_features)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` -> ``(..., out_features)``."""
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)
