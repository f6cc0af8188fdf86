"""MONAI's networks in two dimensions as references: its residual U-Net, the nnU-Net-style DynUNet, Swin UNETR.

MONAI is imported when one of them is made. Its modules are taken out of its networks and called here one after another,
because the protocol of networks asks for maps and a decoder; what is computed is what MONAI computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.errors import optional_import
from glocal.models.network import FeatureInfo, SegmentationNetwork
from glocal.models.registry import Paper, register
from glocal.models.ushaped import comparison_record, fresh_head

__all__ = ["DynUNet", "ResidualUNet", "SwinUNETR"]

_RESIDUAL = Paper(
    title="Left-Ventricle Quantification Using Residual U-Net",
    year=2019,
    url="https://doi.org/10.1007/978-3-030-12029-0_40",
)
_NNUNET = Paper(
    title="nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    year=2021,
    url="https://doi.org/10.1038/s41592-020-01008-z",
)
_SWIN_UNETR = Paper(
    title="Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images",
    year=2022,
    url="https://arxiv.org/abs/2201.01266",
)


def _monai(name: str, in_channels: int, num_classes: int, **arguments: Any) -> nn.Module:
    """A network of MONAI in two dimensions, on the default device (MONAI cannot make all of them on ``meta``)."""
    nets = optional_import("monai.networks.nets", "train")
    with torch.device("cpu"):
        network = getattr(nets, name)(spatial_dims=2, in_channels=in_channels, out_channels=num_classes, **arguments)
    made: nn.Module = network.to(torch.get_default_device())
    return made


class _MonaiNetwork(SegmentationNetwork):
    """What the three share. Images are padded to multiples of the coarsest map's stride.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        features: Channels and stride of each map.
    """

    def __init__(self, in_channels: int, num_classes: int, features: Sequence[FeatureInfo]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.feature_info = tuple(features)
        self.grid = max(info.stride for info in features)


class _InstanceNormed(_MonaiNetwork):
    """Whose instance norms need more than one pixel on the coarsest map."""

    def to_grid(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, padded until both sides are multiples of ``grid``, one of them at least twice it.

        Raises:
            ValueError: ``x`` has not four dimensions, or not ``in_channels`` channels.
        """
        x = super().to_grid(x)
        if x.shape[2] == x.shape[3] == self.grid:
            x = x.index_select(3, torch.arange(2 * self.grid, device=x.device).clamp(max=self.grid - 1))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> logits ``(N, num_classes, H, W)`` (no softmax); any H and W."""
        if x.shape[0] == 0:  # instance norms refuse it
            return x.new_zeros(0, self.num_classes, *x.shape[2:])
        return super().forward(x)


@register(
    comparison_record(
        "monai_unet",
        "monai_unet",
        "MONAI's U-Net of residual units, as in its tutorials",
        (1_628_173, 770_441_216),
        {2: 16, 4: 32, 8: 64, 16: 128},
        _RESIDUAL,
    ),
)
class ResidualUNet(_MonaiNetwork):
    """MONAI's ``UNet``: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Residual units, strided convolutions down and transposed ones up, PReLU, batch norms.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        channels: Channels of the levels, at least two; each but the last, which is no map of the pyramid, halves the
            map.
        num_res_units: Convolutions in each residual unit; 0: single convolutions.
        dropout: Behind the norms, in training.

    Raises:
        ValueError: Fewer than two ``channels``.
        UserError: MONAI is not installed.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        num_res_units: int = 2,
        dropout: float = 0.0,
    ) -> None:
        if len(channels) < 2:
            raise ValueError(f"channels is {list(channels)}; give those of at least two levels")
        super().__init__(in_channels, num_classes, [FeatureInfo(c, 2 ** (i + 1)) for i, c in enumerate(channels[:-1])])
        self.options = {"channels": tuple(channels), "num_res_units": num_res_units, "dropout": dropout}
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        down, skip, up = self._levels()
        for _ in channels[2:]:
            self.down.append(down)
            self.up.append(up)
            down, skip, up = skip.submodule
        self.down.append(down)
        self.bottom: nn.Module = skip.submodule
        self.up.append(up)

    def _levels(self) -> Any:
        """MONAI's first level: the way down, the skip around the other levels, the way up."""
        channels = self.options["channels"]
        assert isinstance(channels, tuple)
        strides = (2,) * (len(channels) - 1)
        return _monai("UNet", self.in_channels, self.num_classes, strides=strides, norm="batch", **self.options).model

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 2, 4, 8 …"""
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        x: Tensor = self.bottom(features[-1])
        for layer, skip in zip(reversed(self.up), reversed(features), strict=True):
            x = layer(torch.cat([skip, x], 1))
        return x

    def reset_head(self, num_classes: int) -> None:
        """Replace the last step up, which ends in the classes, by a freshly initialised one.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 1")
        like = next(self.up[0].parameters())
        self.num_classes = num_classes
        self.up[0] = self._levels()[2].to(like).train(self.training)


@register(
    comparison_record(
        "monai_dynunet",
        "monai_dynunet",
        "MONAI's DynUNet, configured as nnU-Net does for images of this size",
        (20_612_648, 14_254_342_144),
        {1: 32, 2: 64, 4: 128, 8: 256, 16: 512, 32: 512},
        _NNUNET,
    ),
    comparison_record(
        "monai_dynunet_tiny",
        "monai_dynunet",
        "MONAI's DynUNet at a quarter of nnU-Net's width, for small machines and demonstrations",
        (1_290_512, 902_299_648),
        {1: 8, 2: 16, 4: 32, 8: 64, 16: 128, 32: 128},
        _NNUNET,
        {"channels": (8, 16, 32, 64, 128, 128)},
    ),
)
class DynUNet(_InstanceNormed):
    """MONAI's ``DynUNet``: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    Two 3×3 convolutions a level with instance norms and leaky ReLUs, strided convolutions down, transposed ones up.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        channels: Channels of the levels, at least three; each but the first halves the map.
        deep_supervision: Levels below the finest whose logits are trained too; each weighs half as much as the one
            before. 0: none. As MONAI does, they are enlarged to the image by repetition; nnU-Net itself reduces the
            mask instead.
        residual: Residual blocks in place of plain ones.

    Raises:
        ValueError: Fewer than three ``channels``, or more supervised levels than there are.
        UserError: MONAI is not installed.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        channels: Sequence[int] = (32, 64, 128, 256, 512, 512),
        deep_supervision: int = 3,
        residual: bool = False,
    ) -> None:
        if len(channels) < 3:
            raise ValueError(f"channels is {list(channels)}; give those of at least three levels")
        if not 0 <= deep_supervision <= len(channels) - 2:
            raise ValueError(f"deep_supervision is {deep_supervision}; use 0 to {len(channels) - 2}")
        super().__init__(in_channels, num_classes, [FeatureInfo(c, 2**i) for i, c in enumerate(channels)])
        strides = [1] + [2] * (len(channels) - 1)
        made: Any = _monai(
            "DynUNet",
            in_channels,
            num_classes,
            kernel_size=[3] * len(channels),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=list(channels),
            deep_supervision=deep_supervision > 0,
            deep_supr_num=max(1, deep_supervision),
            res_block=residual,
        )
        self.down = nn.ModuleList([made.input_block, *made.downsamples, made.bottleneck])
        self.up: nn.ModuleList = made.upsamples
        self.head: nn.Conv2d = made.output_block.conv.conv
        heads = made.deep_supervision_heads if deep_supervision else ()
        self.auxiliary = nn.ModuleList(head.conv.conv for head in heads)

    def merge(self) -> None:
        """Drop the heads of the coarser levels, which only training needs."""
        self.auxiliary = nn.ModuleList()

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 1, 2, 4 …"""
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        return maps

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        logits: Tensor = self.head(self._decoded(features)[0])
        return logits

    def training_outputs(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """``(N, in_channels, H, W)`` -> logits of every supervised level at the size of the image; weights sum to 1."""
        finest, *coarser = self._decoded(self.encode(self.to_grid(x)))
        height, width = x.shape[-2:]
        outputs = [self.head(finest)]
        for head, y in zip(self.auxiliary, coarser, strict=False):
            outputs.append(F.interpolate(head(y), size=finest.shape[-2:]))
        total = sum(0.5**i for i in range(len(outputs)))
        return [(logits[..., :height, :width], 0.5**i / total) for i, logits in enumerate(outputs)]

    def _decoded(self, features: list[Tensor]) -> list[Tensor]:
        """Maps of the way up, finest first."""
        *skips, x = features
        maps: list[Tensor] = []
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = layer(x, skip)
            maps.insert(0, x)
        return maps

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layers by freshly initialised ones with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        for i, head in enumerate(self.auxiliary):
            assert isinstance(head, nn.Conv2d)
            self.auxiliary[i] = fresh_head(head, num_classes)
        self.num_classes = num_classes


@register(
    comparison_record(
        "monai_swinunetr",
        "monai_swinunetr",
        "MONAI's Swin UNETR in two dimensions",
        (6_302_900, 4_617_570_528),
        {1: 24, 2: 24, 4: 48, 8: 96, 16: 192, 32: 384},
        _SWIN_UNETR,
    ),
)
class SwinUNETR(_InstanceNormed):
    """MONAI's ``SwinUNETR``: ``(N, in_channels, H, W)`` -> logits ``(N, num_classes, H, W)``, any H and W.

    A Swin Transformer from 2×2 patches, and a convolutional decoder on its maps.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        width: Channels at full size, a multiple of 12.
        depths: Blocks of the four stages.
        num_heads: Heads of the four stages.
        window_size: Side of a window.
        drop_path: Probability that a sample skips a branch of the last block; it rises linearly from 0 at the first.
        second_version: Convolutions before each stage, as in MONAI's ``use_v2``.

    Raises:
        ValueError: ``width`` is no multiple of 12.
        UserError: MONAI is not installed.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 2,
        *,
        width: int = 24,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        drop_path: float = 0.0,
        second_version: bool = False,
    ) -> None:
        if width < 1 or width % 12:
            raise ValueError(f"width is {width}; it must be a multiple of 12")
        infos = [FeatureInfo(width, 1), *(FeatureInfo(width * 2**i, 2 ** (i + 1)) for i in range(5))]
        super().__init__(in_channels, num_classes, infos)
        made: Any = _monai(
            "SwinUNETR",
            in_channels,
            num_classes,
            feature_size=width,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            dropout_path_rate=drop_path,
            use_v2=second_version,
        )
        self.transformer: Any = made.swinViT
        self.skips = nn.ModuleList([made.encoder1, made.encoder2, made.encoder3, made.encoder4])
        self.bottom: nn.Module = made.encoder10
        self.up = nn.ModuleList([made.decoder5, made.decoder4, made.decoder3, made.decoder2, made.decoder1])
        self.head: nn.Conv2d = made.out.conv.conv

    def encode(self, x: Tensor) -> list[Tensor]:
        """``(N, in_channels, H, W)`` -> maps at strides 1, 2, 4, 8, 16, 32."""
        hidden = _swin_maps(self.transformer, x)
        skips = [skip(y) for skip, y in zip(self.skips, [x, *hidden[:3]], strict=True)]
        return [*skips, hidden[3], self.bottom(hidden[4])]

    def decode(self, features: list[Tensor]) -> Tensor:
        """Maps of :meth:`encode` -> logits ``(N, num_classes, H, W)``."""
        *skips, x = features
        for layer, skip in zip(self.up, reversed(skips), strict=True):
            x = layer(x, skip)
        logits: Tensor = self.head(x)
        return logits

    def reset_head(self, num_classes: int) -> None:
        """Replace the last layer by a freshly initialised one with ``num_classes`` outputs.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        self.head = fresh_head(self.head, num_classes)
        self.num_classes = num_classes


def _swin_maps(transformer: Any, x: Tensor) -> list[Tensor]:
    """What MONAI's ``SwinTransformer(x, normalize=True)`` gives, without the package ``einops`` that it needs for it.

    ``(N, C, H, W)`` -> five maps at strides 2 to 32, each normalised over its channels.
    """
    from monai.networks.nets.swin_unetr import compute_mask, get_window_size

    x = transformer.pos_drop(transformer.patch_embed(x)).permute(0, 2, 3, 1)
    maps = [x]
    for number in range(1, 5):
        if transformer.use_v2:
            x = getattr(transformer, f"layers{number}c")[0](x.permute(0, 3, 1, 2).contiguous()).permute(0, 2, 3, 1)
        stage = getattr(transformer, f"layers{number}")[0]
        size = x.shape[1:3]
        window, shift = get_window_size(size, stage.window_size, stage.shift_size)
        padded = [-(-side // w) * w for side, w in zip(size, window, strict=True)]
        mask = compute_mask(padded, window, shift, x.device)
        for block in stage.blocks:
            x = block(x, mask)
        x = stage.downsample(x)
        maps.append(x)
    return [F.layer_norm(y, y.shape[-1:]).permute(0, 3, 1, 2).contiguous() for y in maps]
