"""One explained class of one image: the map, and pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glocal.data.readers import Picture
from glocal.errors import UserError, optional_import
from glocal.files import atomic
from glocal.inference.prediction import save_image

if TYPE_CHECKING:
    from PIL import Image, ImageFont

__all__ = ["ALPHA", "Explanation", "displayed", "draw"]

ALPHA = 0.6
"""Opacity of the highest value of a map that is laid over an image."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where in an image of height H and width W the score of a class comes from.

    Attributes:
        picture: The image, upright.
        target: Name of the class.
        map: ``float32 (H, W)`` in [0, 1]: 1 where the most speaks for the class, 0 where nothing does, or what speaks
            against it. Values of two maps cannot be compared: each is divided by its highest.
        probability: Of the class; of a segmentation its mean over the explained pixels.
        method: How it was computed, and from which map unless that was the deepest.
        notes: What was done to the image, and what the reader must know, one phrase each.
    """

    picture: Picture
    target: str
    map: NDArray[np.float32]
    probability: float
    method: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """H and W: of the upright image, in pixels."""
        return self.picture.size

    def overlay(self, alpha: float = ALPHA) -> Image.Image:
        """The image in RGB with the map over it, at its own size; where the map is 0 the image is as it was.

        Args:
            alpha: Opacity where the map is 1, in [0, 1]; it falls with the map.

        Raises:
            UserError: ``alpha`` is not in [0, 1], or matplotlib is not installed.
        """
        from PIL import Image

        return Image.fromarray(_blended(_rgb(self.picture), self.map, alpha))

    def save(self, path: str | Path, alpha: float = ALPHA) -> None:
        """Write a picture: the image, beside it the image with the map, below the class and the colours; PNG.

        Args:
            path: Ends in ``.png``; whole or not at all.
            alpha: As :meth:`overlay`.

        Raises:
            UserError: Another ending, or it cannot be written; or as :meth:`overlay`.
        """
        if Path(path).suffix.lower() != ".png":
            raise UserError(f"{path}: an explanation is drawn as PNG; let the name end in .png")
        save_image(draw([self], alpha), path)

    def save_map(self, path: str | Path) -> None:
        """Write the map alone: float32 ``(H, W)`` as ``.npy``, or 16-bit grey as ``.png``, 65535 where it is 1.

        Raises:
            UserError: Another ending, or it cannot be written.
        """
        ending = Path(path).suffix.lower()
        if ending == ".png":
            from PIL import Image

            save_image(Image.fromarray(np.rint(self.map * 65535).astype(np.uint16)), path)
        elif ending == ".npy":
            with atomic(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, self.map, allow_pickle=False)
        else:
            raise UserError(f"{path}: a map is written as .npy or .png; let the name end so")


_SHORTEST, _LONGEST = 320, 1024
"""Between these lies the longer side of an image that is drawn, in pixels."""
_GAP, _LINE, _BAR = 10, 22, 120
_PAPER, _INK = (24, 24, 24), (225, 225, 225)


def draw(explanations: Sequence[Explanation], alpha: float = ALPHA) -> Image.Image:
    """Explanations of one image side by side, after the image itself, with classes, probabilities and colours.

    Args:
        explanations: At least one, all of one image.
        alpha: As :meth:`Explanation.overlay`.

    Raises:
        UserError: As :meth:`Explanation.overlay`.
    """
    from PIL import Image, ImageDraw

    plain = displayed(explanations[0].picture)
    size = plain.size
    cell = max(size[0], 200) + _GAP
    sheet = Image.new("RGB", (_GAP + cell * (1 + len(explanations)), size[1] + 2 * _GAP + 2 * _LINE), _PAPER)
    sheet.paste(plain, (_GAP, _GAP))
    pen, font = ImageDraw.Draw(sheet), _font()
    for index, one in enumerate(explanations, 1):
        left, top = _GAP + cell * index, _GAP
        strength = Image.fromarray(one.map).resize(size, Image.Resampling.BILINEAR)
        sheet.paste(Image.fromarray(_blended(np.asarray(plain), np.asarray(strength), alpha)), (left, top))
        top += size[1] + 4
        number = f" {one.probability:.3f}"
        name = _shortened(" ".join(one.target.split()), font, cell - _GAP - font.getlength(number))
        pen.text((left, top), name + number, _INK, font)
        ramp = np.broadcast_to(np.linspace(0, 1, _BAR, dtype=np.float32), (10, _BAR))
        grey = np.full((10, _BAR, 3), 110, np.uint8)
        sheet.paste(Image.fromarray(_blended(grey, ramp, alpha)), (left + 14, top + _LINE + 4))
        pen.text((left, top + _LINE), "0", _INK, font)
        pen.text((left + _BAR + 20, top + _LINE), f"1  {one.method}", _INK, font)
    return sheet


def displayed(picture: Picture) -> Image.Image:
    """The image in RGB at the size at which it is drawn: 320 to 1024 pixels along its longer side."""
    from PIL import Image

    height, width = picture.size
    scale = min(max(height, width, _SHORTEST), _LONGEST) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(_rgb(picture)).resize(size, Image.Resampling.BILINEAR)


def _rgb(picture: Picture) -> NDArray[np.uint8]:
    return np.rint(picture.unit(3) * 255).astype(np.uint8)


def _blended(rgb: NDArray[np.uint8], strength: NDArray[np.float32], alpha: float) -> NDArray[np.uint8]:
    """The colours of ``strength`` ``(H, W)`` over ``rgb`` ``(H, W, 3)``, the more opaque the higher it is."""
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha is {alpha}; the opacity of the map lies between 0 and 1")
    colours = optional_import("matplotlib", "train").colormaps["plasma"](strength)[..., :3] * 255  # uniform to the eye
    opacity = alpha * strength[..., None]
    mixed: NDArray[np.uint8] = np.rint(rgb + opacity * (colours - rgb)).astype(np.uint8)
    return mixed


def _font() -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    folder = Path(optional_import("matplotlib", "train").get_data_path())
    return ImageFont.truetype(folder / "fonts" / "ttf" / "DejaVuSans.ttf", 13)


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"
