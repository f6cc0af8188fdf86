"""Test-time augmentation: the network sees an image from several sides, and its answers are averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.errors import UserError

__all__ = ["TTA", "Augmented", "AugmentedClassifier", "View", "choose_views"]

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


def _seen_from(x: Tensor, view: View) -> Tensor:
    """``(N, C, H, W)`` turned, then mirrored."""
    quarter, mirrored = view
    turned = torch.rot90(x, quarter, (-2, -1))
    return turned.flip(-1) if mirrored else turned


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
        answers = torch.stack([self._answer(x, view) for view in self.views])
        return answers.logsumexp(dim=0) - math.log(len(answers))

    def _answer(self, x: Tensor, view: View) -> Tensor:
        logits: Tensor = self.network(_seen_from(x, view))
        answer = logits.float().log_softmax(dim=1)
        return torch.rot90(answer.flip(-1) if view[1] else answer, -view[0], (-2, -1))


class AugmentedClassifier(nn.Module):
    """A classifier that looks several times: ``(N, C, H, W)`` -> logits ``(N, K)`` of its mean probabilities.

    What is returned may be divided by the temperature and passed to softmax (or sigmoid) as one answer is.

    Args:
        network: ``(N, C, H, W)`` -> logits ``(N, K)``.
        views: Of :func:`choose_views`. A single one gives the logits as they are.
        temperature: What logits are divided by before they become probabilities.
        multi_label: Probabilities are sigmoids, each for itself.
    """

    def __init__(
        self, network: nn.Module, views: tuple[View, ...], temperature: float = 1.0, *, multi_label: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.views = views
        self.temperature = temperature
        self.multi_label = multi_label

    def forward(self, x: Tensor) -> Tensor:
        """Look at ``x`` from every side; see the class."""
        if len(self.views) == 1:
            logits: Tensor = self.network(x)
            return logits
        scaled = torch.stack([self.network(_seen_from(x, view)).float() / self.temperature for view in self.views])
        if self.multi_label:  # log(p / (1 - p)) of the mean p; the number of views cancels
            return self.temperature * (F.logsigmoid(scaled).logsumexp(0) - F.logsigmoid(-scaled).logsumexp(0))
        return self.temperature * (scaled.log_softmax(dim=2).logsumexp(0) - math.log(len(scaled)))
