"""What augmentation does: ranges and probabilities, all of them checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from glocal.errors import UserError

__all__ = [
    "NEEDS_RGB",
    "AffineConfig",
    "AugmentConfig",
    "BlurConfig",
    "ColorJitterConfig",
    "CropConfig",
    "EraseConfig",
    "FlipConfig",
    "MixConfig",
    "OneOfConfig",
    "OneOfName",
    "RandAugmentConfig",
    "TurnConfig",
    "check_augment",
]

OneOfName = Literal[
    "to_gray",
    "grid_distortion",
    "elastic",
    "clahe",
    "hue_saturation_value",
    "channel_shuffle",
    "grid_dropout",
    "rgb_shift",
    "gaussian_blur",
]
NEEDS_RGB: tuple[OneOfName, ...] = ("to_gray", "hue_saturation_value", "channel_shuffle", "rgb_shift")
"""Changes that mean nothing for grey images."""


@dataclass(frozen=True)
class CropConfig:
    """Cut out a part of the image and enlarge it to the full size.

    Attributes:
        p: Probability.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest width / height.
    """

    p: float = 0.0
    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)


@dataclass(frozen=True)
class AffineConfig:
    """Shift, scale and rotate; what comes in from outside is black and background.

    Attributes:
        p: Probability.
        together: Whether one draw decides for all three; else each is drawn with probability p.
        shift: Largest shift, as a share of width and height.
        scale: The factor is within 1 - scale and 1 + scale.
        rotate: Largest angle in degrees.
    """

    p: float = 0.0
    together: bool = True
    shift: float = 0.1
    scale: float = 0.1
    rotate: float = 30.0


@dataclass(frozen=True)
class FlipConfig:
    """Mirror the image.

    Attributes:
        horizontal: Probability of exchanging left and right.
        vertical: Probability of exchanging top and bottom.
    """

    horizontal: float = 0.0
    vertical: float = 0.0


@dataclass(frozen=True)
class TurnConfig:
    """Turn by 0, 90, 180 or 270 degrees, then mirror along one of the two axes: exactly, without sampling.

    Images that are turned are not shifted, scaled or rotated as well.

    Attributes:
        p: Probability.
    """

    p: float = 0.0


@dataclass(frozen=True)
class RandAugmentConfig:
    """A few changes of colour and geometry, drawn for each image (Cubuk et al., NeurIPS 2020).

    Attributes:
        p: Probability that a change that was drawn is applied.
        changes: How many are drawn for each image.
        magnitude: Their strength, from 0 to 10; 10 is the strongest.
        spread: Standard deviation of the strength around magnitude.
    """

    p: float = 0.0
    changes: int = 2
    magnitude: float = 9.0
    spread: float = 0.5


@dataclass(frozen=True)
class EraseConfig:
    """Classification: replace a rectangle of the normalised image by noise (Zhong et al., AAAI 2020).

    Attributes:
        p: Probability.
        scale: Smallest and largest share of the area.
        ratio: Smallest and largest width / height.
    """

    p: float = 0.0
    scale: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class MixConfig:
    """Classification: mix each image and its label with another one of the batch; one draw decides for a batch.

    Attributes:
        p: Probability that a batch is mixed.
        mixup: Beta parameter of the share, all over the image (Zhang et al., ICLR 2018); 0: not this way.
        cutmix: Beta parameter of the area of a pasted rectangle (Yun et al., ICCV 2019); 0: not this way.
        switch: Probability of cutmix where both are possible.
    """

    p: float = 0.0
    mixup: float = 0.8
    cutmix: float = 1.0
    switch: float = 0.5


@dataclass(frozen=True)
class ColorJitterConfig:
    """Change brightness, contrast, saturation and hue, in an order drawn for each batch. Grey: the first two.

    Attributes:
        p: Probability.
        brightness: The factor is within 1 - brightness and 1 + brightness.
        contrast: The factor around the mean is within 1 - contrast and 1 + contrast.
        saturation: The factor is within 1 - saturation and 1 + saturation.
        hue: Largest change, as a share of the colour circle.
    """

    p: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.2


@dataclass(frozen=True)
class BlurConfig:
    """Gaussian blur with a kernel of 3, 5 or 7 pixels (sigma 0.8, 1.1, 1.4).

    Attributes:
        p: Probability.
    """

    p: float = 0.0


@dataclass(frozen=True)
class OneOfConfig:
    """At most one of several changes, each equally likely.

    Attributes:
        p: Probability that one of them is applied.
        transforms: Those to choose from.
        elastic_alpha: elastic: displacement in pixels before smoothing.
        elastic_sigma: elastic: smoothing in pixels.
        grid_steps: grid_distortion: cells along each axis.
        grid_limit: grid_distortion: cells are stretched by a factor within 1 - limit and 1 + limit.
        dropout_ratio: grid_dropout: side of a hole as a share of its cell; there are ten cells along each axis.
    """

    p: float = 0.0
    transforms: tuple[OneOfName, ...] = get_args(OneOfName)
    elastic_alpha: float = 1.0
    elastic_sigma: float = 50.0
    grid_steps: int = 5
    grid_limit: float = 0.3
    dropout_ratio: float = 0.5


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training images, in this order. All probabilities are 0 unless a recipe sets them.

    Attributes:
        turn: Turn by right angles and mirror.
        crop: Cut out and enlarge.
        affine: Shift, scale, rotate.
        flip: Mirror.
        rand_augment: A few changes of colour and geometry, drawn for each image.
        color_jitter: Brightness, contrast, saturation, hue.
        blur: Gaussian blur.
        one_of: At most one of several further changes.
        erase: Classification: a rectangle of noise.
        mix: Classification: mixup and cutmix.
    """

    turn: TurnConfig = field(default_factory=TurnConfig)

    crop: CropConfig = field(default_factory=CropConfig)
    affine: AffineConfig = field(default_factory=AffineConfig)
    flip: FlipConfig = field(default_factory=FlipConfig)
    rand_augment: RandAugmentConfig = field(default_factory=RandAugmentConfig)
    color_jitter: ColorJitterConfig = field(default_factory=ColorJitterConfig)
    blur: BlurConfig = field(default_factory=BlurConfig)
    one_of: OneOfConfig = field(default_factory=OneOfConfig)
    erase: EraseConfig = field(default_factory=EraseConfig)
    mix: MixConfig = field(default_factory=MixConfig)


def check_augment(config: AugmentConfig) -> None:
    """Refuse probabilities and ranges that make no sense.

    Raises:
        UserError: One line that names the setting.
    """
    probabilities = {
        "turn.p": config.turn.p,
        "rand_augment.p": config.rand_augment.p,
        "erase.p": config.erase.p,
        "mix.p": config.mix.p,
        "mix.switch": config.mix.switch,
        "crop.p": config.crop.p,
        "affine.p": config.affine.p,
        "flip.horizontal": config.flip.horizontal,
        "flip.vertical": config.flip.vertical,
        "color_jitter.p": config.color_jitter.p,
        "blur.p": config.blur.p,
        "one_of.p": config.one_of.p,
        "one_of.dropout_ratio": config.one_of.dropout_ratio,
    }
    for name, p in probabilities.items():
        if not 0 <= p <= 1:
            raise UserError(f"augment.{name} is {p}; it must be from 0 to 1")
    shares = {
        "affine.shift": config.affine.shift,
        "affine.scale": config.affine.scale,
        "color_jitter.brightness": config.color_jitter.brightness,
        "color_jitter.contrast": config.color_jitter.contrast,
        "color_jitter.saturation": config.color_jitter.saturation,
        "one_of.grid_limit": config.one_of.grid_limit,
    }
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise UserError(f"augment.{name} is {share}; it must be at least 0 and below 1")
    if not 0 <= config.color_jitter.hue <= 0.5:
        raise UserError(f"augment.color_jitter.hue is {config.color_jitter.hue}; it must be from 0 to 0.5")
    cuts: tuple[tuple[str, CropConfig | EraseConfig], ...] = (("crop", config.crop), ("erase", config.erase))
    for name, cut in cuts:
        low, high = cut.scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"augment.{name}.scale is {[low, high]}; give the smaller share first, both above 0 and at most 1"
            )
        low, high = cut.ratio
        if not 0 < low <= high:
            raise UserError(f"augment.{name}.ratio is {[low, high]}; give the smaller ratio first, both above 0")
    some = config.rand_augment
    if not 0 <= some.magnitude <= 10 or some.spread < 0 or some.changes < 1:
        raise UserError("augment.rand_augment: magnitude must be from 0 to 10, spread not negative, changes at least 1")
    if min(config.mix.mixup, config.mix.cutmix) < 0 or (config.mix.p and not config.mix.mixup + config.mix.cutmix):
        raise UserError("augment.mix.mixup and cutmix must not be negative, and not both 0; or set augment.mix.p to 0")
    if config.one_of.grid_steps < 1 or config.one_of.elastic_sigma <= 0:
        raise UserError("augment.one_of.grid_steps and elastic_sigma must be above 0")
    if config.one_of.p > 0 and not config.one_of.transforms:
        raise UserError("augment.one_of.transforms is empty; name some or set augment.one_of.p to 0")
