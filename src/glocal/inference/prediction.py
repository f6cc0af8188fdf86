"""What a network says about one image: mask, probabilities, pictures, files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from glocal.data.readers import Picture
from glocal.errors import UserError
from glocal.files import atomic
from glocal.inference.postprocessing import Postprocessing

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Prediction", "save_image", "save_mask"]

_NOTHING = Postprocessing()


@dataclass(frozen=True, eq=False)
class Prediction:
    """The segmentation of one image of height H and width W into K classes.

    Mask and probabilities are computed when they are first asked for.

    Attributes:
        classes: Their names; the first is the background.
        picture: The image, upright.
        scores: ``(K, h, w)`` float32: logits at the size the network saw, or at (H, W) where it saw windows.
        notes: What was done to the image on its way, one phrase each.
        postprocessing: What is done to the mask at the end.
    """

    classes: tuple[str, ...]
    picture: Picture
    scores: Tensor
    notes: tuple[str, ...] = ()
    postprocessing: Postprocessing = _NOTHING

    @property
    def size(self) -> tuple[int, int]:
        """H and W: of the upright image, in pixels."""
        return self.picture.size

    @cached_property
    def mask(self) -> NDArray[np.uint8]:
        """Class indices at the size of the image: ``uint8 (H, W)``."""
        return self.mask_at(self.size)

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Probability of each class at the size of the image: ``float32 (K, H, W)``; they add up to 1."""
        probabilities: NDArray[np.float32] = _resized(self.scores, self.size).softmax(dim=0).numpy()
        return probabilities

    def mask_at(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class indices ``uint8 (height, width)`` at another size: scores are resized, then the highest wins.

        Post-processing comes last; its minimum sizes are pixels of the image, and scaled with the size.
        """
        mask: NDArray[np.uint8] = _highest(_resized(self.scores, size)).numpy()
        if self.postprocessing:
            self.postprocessing.scaled(size[0] * size[1] / (self.size[0] * self.size[1])).apply_to(mask)
        return mask

    def overlay(self) -> Image.Image:
        """The image in RGB with the predicted areas tinted and outlined, at its own size."""
        from PIL import Image

        from glocal.data.contact_sheet import overlay

        return Image.fromarray(overlay(self.picture, self.mask, max(self.size)))

    def save(self, path: str | Path) -> None:
        """Write the mask as an indexed PNG: the value of a pixel is its class, the palette colours it for viewers.

        Args:
            path: Ends in ``.png``; the folder is made when it is missing. The file appears whole or not at all.

        Raises:
            UserError: Another ending, or it cannot be written.
        """
        save_mask(self.mask, path)

    def save_probabilities(self, path: str | Path) -> None:
        """Write ``probabilities`` ``float16 (K, H, W)`` and ``classes`` (names) as a compressed ``.npz``.

        Raises:
            UserError: It does not end in ``.npz``, or cannot be written.
        """
        if Path(path).suffix.lower() != ".npz":
            raise UserError(f"{path}: probabilities are written as NumPy archive; let the name end in .npz")
        with atomic(path) as temporary:
            np.savez_compressed(
                temporary, probabilities=self.probabilities.astype(np.float16), classes=np.array(self.classes)
            )


def save_mask(mask: NDArray[np.uint8], path: str | Path) -> None:
    """Write class indices ``(H, W)`` as an indexed PNG, whole or not at all.

    Raises:
        UserError: ``path`` does not end in ``.png``, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: a mask is written as PNG, which keeps its values; let the name end in .png")
    from PIL import Image

    from glocal.data.contact_sheet import colour_of

    image = Image.fromarray(mask)
    image.putpalette([value for index in range(256) for value in (colour_of(index) if index else (0, 0, 0))])
    save_image(image, path)


def save_image(image: Image.Image, path: str | Path) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    with atomic(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores ``(K, h, w)`` -> ``(K, *size)``, bilinear, averaged where they shrink."""
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return F.interpolate(scores[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def _highest(scores: Tensor) -> Tensor:
    """Index of the highest score, the lowest index where several are: ``(K, H, W)`` -> ``uint8 (H, W)``.

    One pass over memory a class, which is several times faster than ``argmax`` over the first axis.
    """
    best = scores[0].clone()
    index = torch.zeros(best.shape, dtype=torch.uint8)
    for k in range(1, len(scores)):
        index.masked_fill_(scores[k] > best, k)
        torch.maximum(best, scores[k], out=best)
    return index
