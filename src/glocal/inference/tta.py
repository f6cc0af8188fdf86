"""Test-time augmentation: the network sees an image from several sides, and its answers are averaged."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from glocal.errors import UserError

__all__ = ["TTA", "Augmented", "named"]

TTA: TypeAlias = Literal["none", "flips", "rotations"]

_QUARTERS: dict[TTA, tuple[int, ...]] = {"none": (), "flips": (0, 2), "rotations": (0, 1, 2, 3)}
"""Quarter turns, each seen plainly and mirrored: two of them make the four flips, four all eight symmetries."""


def named(given: bool | str) -> TTA:
    """The kind of augmentation that is meant: ``False`` none, ``True`` flips, or its name.

    Raises:
        UserError: There is no such kind.
    """
    if isinstance(given, bool):
        return "flips" if given else "none"
    for kind in _QUARTERS:
        if kind == given:
            return kind
    raise UserError(f"test-time augmentation {given!r} is unknown; use one of {', '.join(get_args(TTA))}")


class Augmented(nn.Module):
    """A network that looks several times: ``(N, C, H, W)`` -> logarithm of its mean probabilities ``(N, K, H, W)``.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K, H, W)``.
        kind: ``"flips"``: 4 views. ``"rotations"``: these and quarter turns, 8 views. ``"none"``: logits as they are.
    """

    def __init__(self, network: nn.Module, kind: TTA) -> None:
        super().__init__()
        self.network = network
        self.views = [(quarter, mirrored) for quarter in _QUARTERS[kind] for mirrored in (False, True)]

    def forward(self, x: Tensor) -> Tensor:
        """Look at ``x`` from every side; see the class."""
        if not self.views:
            logits: Tensor = self.network(x)
            return logits
        answers = torch.stack([self._seen(x, quarter, mirrored) for quarter, mirrored in self.views])
        return answers.logsumexp(dim=0) - math.log(len(answers))

    def _seen(self, x: Tensor, quarter: int, mirrored: bool) -> Tensor:
        turned = torch.rot90(x, quarter, (-2, -1))
        logits: Tensor = self.network(turned.flip(-1) if mirrored else turned)
        answer = logits.float().log_softmax(dim=1)
        return torch.rot90(answer.flip(-1) if mirrored else answer, -quarter, (-2, -1))
