"""Test-time augmentation: the network sees an image from several sides, and its answers are averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from glocal.errors import UserError

__all__ = ["TTA", "Augmented", "choose_views"]

TTA: TypeAlias = Literal["none", "mirror", "flips", "rotations"]

View: TypeAlias = tuple[int, bool]
"""Quarter turns, then whether left and right are exchanged."""

_UPSIDE_DOWN: tuple[View, ...] = ((0, False), (2, True))
_FLIPS: tuple[View, ...] = ((0, False), (0, True), (2, True), (2, False))

_VIEWS: dict[TTA, tuple[View, ...]] = {
    "none": ((0, False),),
    "mirror": _FLIPS[:2],
    "flips": _FLIPS,
    "rotations": (*_FLIPS, (1, False), (1, True), (3, True), (3, False)),
}


def choose_views(asked: bool | str, manifest: Mapping[str, Any]) -> tuple[View, ...]:
    """The views that are meant by a name, or by ``True``: those that training had, as the model's manifest says.

    A network that was never shown a mirrored image may be wrong about it, and averaging then makes masks worse. All
    four flips are taken where the manifest does not say.

    Raises:
        UserError: There is no such kind, or ``True`` and the network was trained without flips.
    """
    if asked is False:
        return _VIEWS["none"]
    if asked is True:
        flips = manifest.get("flips")
        if flips == []:
            raise UserError(
                "the network was trained without flips, so averaging over them would make masks worse; "
                "leave test-time augmentation out, or insist with a kind: mirror, flips or rotations (--tta_views)"
            )
        if flips == ["horizontal"]:
            return _VIEWS["mirror"]
        return _UPSIDE_DOWN if flips == ["vertical"] else _FLIPS
    for kind, views in _VIEWS.items():
        if kind == asked:
            return views
    raise UserError(f"test-time augmentation {asked!r} is unknown; use one of {', '.join(get_args(TTA))}")


class Augmented(nn.Module):
    """A network that looks several times: ``(N, C, H, W)`` -> logarithm of its mean probabilities ``(N, K, H, W)``.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K, H, W)``.
        views: Of :func:`choose_views`. A single one gives the logits as they are.
    """

    def __init__(self, network: nn.Module, views: tuple[View, ...]) -> None:
        super().__init__()
        self.network = network
        self.views = views

    def forward(self, x: Tensor) -> Tensor:
        """Look at ``x`` from every side; see the class."""
        if len(self.views) == 1:
            logits: Tensor = self.network(x)
            return logits
        answers = torch.stack([self._seen(x, quarter, mirrored) for quarter, mirrored in self.views])
        return answers.logsumexp(dim=0) - math.log(len(answers))

    def _seen(self, x: Tensor, quarter: int, mirrored: bool) -> Tensor:
        turned = torch.rot90(x, quarter, (-2, -1))
        logits: Tensor = self.network(turned.flip(-1) if mirrored else turned)
        answer = logits.float().log_softmax(dim=1)
        return torch.rot90(answer.flip(-1) if mirrored else answer, -quarter, (-2, -1))
