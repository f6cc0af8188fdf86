"""Swin Transformer (arXiv 2103.14030) as a classifier and backbone, with patch merging or Stepwise Patch Merging."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn

from glocal.models.network import FeatureInfo, Network
from glocal.models.registry import ModelInfo, Paper, register
from glocal.nn import MultiScaleAggregation, PatchMerging, StepwisePatchMerging, SwinEncoder

__all__ = ["Swin"]

_SWIN = Paper(
    title="Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
    year=2021,
    url="https://arxiv.org/abs/2103.14030",
)
_SPM = Paper(
    title="Brain-Inspired Stepwise Patch Merging for Vision Transformers",
    year=2025,
    url="https://arxiv.org/abs/2409.06963",
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _records(
    variant: str,
    summary: str,
    counts: tuple[tuple[int, int], tuple[int, int]],
    embed_dim: int,
    depths: tuple[int, ...],
    num_heads: tuple[int, ...],
) -> Iterator[ModelInfo]:
    """The records of a variant with patch merging and with SPM; ``counts``: parameters and multiply-adds of each."""
    for merging, (parameters, multiply_adds) in zip(("patch", "spm"), counts, strict=True):
        spm = merging == "spm"
        yield ModelInfo(
            name=f"swin_{variant}_spm" if spm else f"swin_{variant}",
            family="swin",
            task="classification",
            summary=f"{summary}, with Stepwise Patch Merging" if spm else summary,
            input_size=(224, 224),
            in_channels=3,
            num_classes=1000,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            parameters=parameters,
            multiply_adds=multiply_adds,
            feature_channels=tuple(embed_dim * 2**i for i in range(4)),
            feature_strides=(4, 8, 16, 32),
            paper=_SPM if spm else _SWIN,
            arguments=MappingProxyType(
                {"embed_dim": embed_dim, "depths": depths, "num_heads": num_heads, "merging": merging}
            ),
        )


@register(
    *_records(
        "nano",
        "Swin at half the width of Swin-T and eight blocks, for small machines and demonstrations",
        ((5_512_066, 799_913_472), (5_955_586, 938_192_256)),
        48,
        (2, 2, 2, 2),
        (3, 6, 12, 24),
    ),
    *_records(
        "tiny", "Swin-T", ((28_288_354, 4_490_566_656), (29_949_538, 4_983_884_544)), 96, (2, 2, 6, 2), (3, 6, 12, 24)
    ),
    *_records(
        "small", "Swin-S", ((49_606_258, 8_740_875_264), (51_267_442, 9_234_193_152)), 96, (2, 2, 18, 2), (3, 6, 12, 24)
    ),
    *_records(
        "base",
        "Swin-B",
        ((87_768_224, 15_430_946_816), (90_671_264, 16_281_379_840)),
        128,
        (2, 2, 18, 2),
        (4, 8, 16, 32),
    ),
)
class Swin(Network):
    """Swin Transformer: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes)``, any H and W.

    The classifier of the official code: windows are not shifted on maps no larger than one; a layer norm, the mean of
    the last map, a linear layer. That code takes one size only; here maps that do not fill windows or patches are
    padded with zeros at the bottom and right, as in the official code for detection.

    Args:
        in_channels: Channels of the image.
        num_classes: Classes.
        merging: What leads from stage to stage: ``"patch"`` is Swin's own patch merging, ``"spm"`` Stepwise Patch
            Merging (arXiv 2409.06963); ``"msa"`` and ``"gle"`` are its two parts alone, for ablations (``parts`` of
            :class:`glocal.nn.StepwisePatchMerging`).
        embed_dim: Channels of the first stage; each next one has twice as many.
        depths: Blocks of the four stages.
        num_heads: Heads of the four stages.
        window_size: Side of a window.
        mlp_ratio: Width of the perceptrons' middle, in multiples of the channels.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.
        stage_norms: A layer norm on each of the four maps, as the official backbone for dense prediction has; that of
            the last map is then the classifier's as well. The others serve features only.
        shift_single_window: Shift windows also on maps no larger than one, as that backbone does.
        frozen_norm: With SPM: keep its batch norms at their running statistics in training.

    Raises:
        ValueError: An option that is not one of these, or channels that heads or merging cannot split.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        merging: Literal["patch", "spm", "msa", "gle"] = "patch",
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4,
        drop_path: float = 0.0,
        stage_norms: bool = False,
        shift_single_window: bool = False,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        if merging not in ("patch", "spm", "msa", "gle"):
            raise ValueError(f"merging is {merging!r}; use patch or spm (or its parts, msa or gle)")
        if len(depths) != 4 or not all(isinstance(depth, int) and depth > 0 for depth in depths):
            raise ValueError(f"depths is {list(depths)}; give four whole numbers above 0, one a stage")
        halve: Callable[[int, int], nn.Module] = PatchMerging
        if merging != "patch":
            parts = "both" if merging == "spm" else merging
            halve = partial(_ChannelsLast, frozen_norm=frozen_norm, parts=parts)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.grid = 4
        self.padding = "zero"
        self.encoder = SwinEncoder(
            in_channels,
            embed_dim,
            depths,
            num_heads,
            window_size,
            mlp_ratio=mlp_ratio,
            drop_path=drop_path,
            stage_norms=stage_norms,
            shift_single_window=shift_single_window,
            merging=halve,
        )
        channels = self.encoder.channels
        self.feature_info = tuple(FeatureInfo(c, 4 * 2**i) for i, c in enumerate(channels))
        self.norm = None if stage_norms else nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1], num_classes)
        _initialise(self)

    @property
    def no_weight_decay(self) -> tuple[str, ...]:
        """Parameters that the published training does not decay, besides biases and norms."""
        return tuple(name for name, _ in self.named_parameters() if name.endswith("relative_position_bias_table"))

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> the maps of the four stages, strides 4, 8, 16, 32, channels-last in memory."""
        maps: list[Tensor] = self.encoder(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Norm and mean of the last map, and the head: ``(N, num_classes)``."""
        x = features[-1].permute(0, 2, 3, 1)
        x = x if self.norm is None else self.norm(x)
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        self.head = nn.Linear(self.head.in_features, num_classes).to(self.head.weight)
        _initialise(self.head)


class _ChannelsLast(StepwisePatchMerging):
    """Stepwise patch merging of maps ``(N, H, W, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, ceil(H / 2), ceil(W / 2), C')``."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _initialise(module: nn.Module) -> None:
    """Linear layers truncated normal 0.02 and bias 0, as the official classifier; MSA has its own way in any host."""
    if isinstance(module, MultiScaleAggregation):
        return
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for child in module.children():
        _initialise(child)
