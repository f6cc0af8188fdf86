"""Where networks with routed attention (DSSA, STAR-DSSA) look, as pictures: routes, visits and saliency of blocks.

These show what the first selection does, region by region. They are no proof of why a network decides as it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glocal.errors import UserError, optional_import
from glocal.inference.prediction import save_image
from glocal.nn.dssa import DualSparseSelectionAttention, Routes

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BlockRouting", "routing_maps", "routing_pictures", "save_routing"]

_OPACITY = 0.6
_QUERY, _ROUTED = (0, 255, 255), (255, 255, 255)


@dataclass(frozen=True)
class BlockRouting:
    """What one block did with one image."""

    name: str
    """Of the block in the network, such as ``"encoder.1.blocks.0"``."""
    routes: Routes
    """N = 1, on the CPU."""
    image: tuple[int, int]
    """Height and width of the image, and below of what the network made of it by padding."""
    padded: tuple[int, int]

    def region_at(self, at: tuple[float, float]) -> int:
        """The region that holds a point, given as shares of height and width of the image, in [0, 1]."""
        grid, sides = self.routes.grid, (self.routes.grid.height, self.routes.grid.width)
        places = [
            min(int(share * image * side / padded), side - 1) // region
            for share, image, side, padded, region in zip(at, self.image, sides, self.padded, grid.region, strict=True)
        ]
        return places[0] * grid.shape[1] + places[1]

    def spread(self, regions: NDArray[Any]) -> NDArray[Any]:
        """A value a region, ``(R,)``, at the tokens of the map ``(h, w)``."""
        grid = self.routes.grid
        whole = regions.reshape(grid.shape).repeat(grid.region[0], 0).repeat(grid.region[1], 1)
        return whole[: grid.height, : grid.width]

    def at_image(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """A value a token, ``(h, w)``, at the pixels of the image, its padding cut off."""
        grid = self.routes.grid
        rows, columns = (
            (np.arange(image) * side // padded)
            for image, side, padded in zip(self.image, (grid.height, grid.width), self.padded, strict=True)
        )
        return tokens[rows][:, columns]


def routing_maps(network: nn.Module, image: Tensor, *, every_block: bool = False) -> list[BlockRouting]:
    """Run the network on one image and tell where the regions of its routed blocks look.

    Args:
        network: With DSSA or STAR-DSSA anywhere in it; left as it is, run in eval mode.
        image: ``(1, C, H, W)`` as the network takes it, normalised.
        every_block: All routed blocks; False: the last of each level.

    Returns:
        The blocks in the order in which the network ran them.

    Raises:
        UserError: The network has no routed attention.
        ValueError: More than one image.
    """
    if len(image) != 1:
        raise ValueError(f"{len(image)} images; routing is told of one at a time")
    attentions = {m: name for name, m in network.named_modules() if isinstance(m, DualSparseSelectionAttention)}
    if not attentions:
        raise UserError(
            f"{type(network).__name__} routes nothing: routing is drawn for networks with DSSA or STAR-DSSA, such as "
            "dssaunet and star_dssaunet"
        )
    sides = (image.shape[2], image.shape[3])
    unit = getattr(network, "grid", 1)
    padded = (-(-sides[0] // unit) * unit, -(-sides[1] // unit) * unit)
    found: dict[str, BlockRouting] = {}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, DualSparseSelectionAttention)
        name = attentions[module].removesuffix(".attention").removesuffix(".block")
        found[name] = BlockRouting(name, _on_cpu(module.explain(inputs[0])), sides, padded)

    handles = [module.register_forward_pre_hook(look) for module in attentions]
    training = network.training
    try:
        with torch.inference_mode():
            network.eval()(image)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    last = {name.rpartition(".")[0]: name for name in found}.values()
    return [routing for name, routing in found.items() if every_block or name in last]


def _on_cpu(routes: Routes) -> Routes:
    tensors = (routes.index, routes.scores, routes.gain, routes.saliency)
    index, scores, gain, saliency = (None if t is None else t.detach().float().cpu() for t in tensors)
    assert index is not None
    assert scores is not None
    return Routes(routes.grid, index.long(), scores, gain, saliency)


def routing_pictures(
    network: nn.Module,
    image: Tensor,
    picture: NDArray[np.uint8],
    *,
    at: tuple[float, float] = (0.5, 0.5),
    every_block: bool = False,
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of the routing of one image.

    For each block: ``"NAME routes"``, the region at a point (outlined in cyan) and those it is routed to (outlined in
    white, the warmer the better they answer); ``"NAME visits"``, how many regions are routed to each; and for STAR-DSSA
    ``"NAME saliency"``, how much each token counts in its region's means, as far as the block has saliency.

    Args:
        network: As :func:`routing_maps`.
        image: As :func:`routing_maps`.
        picture: ``(h, w, 3)``, what is drawn on: the image, at any size.
        at: The point whose region is asked, as shares of height and width.
        every_block: As :func:`routing_maps`.

    Returns:
        RGB pictures of the size of ``picture``.

    Raises:
        UserError: The network has no routed attention, the point is not in the image, or matplotlib or Pillow is not
            installed.
        ValueError: More than one image.
    """
    if not all(0 <= share <= 1 for share in at):
        raise UserError(f"at is {at[0]:g}, {at[1]:g}; give shares of height and width between 0 and 1")
    pictures: dict[str, NDArray[np.uint8]] = {}
    for block in routing_maps(network, image, every_block=every_block):
        pictures[f"{block.name} routes"] = _routes(block, picture, block.region_at(at))
        visits = torch.bincount(block.routes.index.flatten(), minlength=block.routes.grid.regions).numpy()
        pictures[f"{block.name} visits"] = _tinted(picture, block.at_image(block.spread(visits / max(1, visits.max()))))
        if block.routes.saliency is not None:
            logits = block.routes.saliency[0].numpy()
            share = (logits - logits.min()) / max(float(np.ptp(logits)), 1e-12)
            pictures[f"{block.name} saliency"] = _tinted(picture, block.at_image(share))
    return pictures


def _routes(block: BlockRouting, picture: NDArray[np.uint8], query: int) -> NDArray[np.uint8]:
    """The routed regions tinted by rank and outlined, the asking one outlined over them."""
    chosen = block.routes.index[0, query].numpy()
    strength = np.zeros(block.routes.grid.regions)
    strength[chosen] = np.linspace(1, 0.35, len(chosen))
    drawn = _tinted(picture, block.at_image(block.spread(strength)))
    numbers = block.at_image(block.spread(np.arange(block.routes.grid.regions)))
    numbers = _resized(numbers, picture.shape[:2])
    for regions, colour in ((chosen, _ROUTED), (np.array([query]), _QUERY)):
        drawn[_outlines(np.where(np.isin(numbers, regions), numbers + 1, 0))] = colour
    return drawn


def _outlines(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels at the inner border of what has a number above 0, two pixels wide on large pictures."""
    width = 1 + (min(numbers.shape) >= 256)
    around = np.pad(numbers, width, mode="constant", constant_values=-1)
    height, length = numbers.shape
    edge = np.zeros(numbers.shape, dtype=bool)
    for down, across in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        edge |= around[down : down + height, across : across + length] != numbers
    inner: NDArray[np.bool_] = edge & (numbers > 0)
    return inner


def _resized(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Nearest values at another size."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, values.shape, strict=True))
    resized: NDArray[Any] = values[rows][:, columns]
    return resized


def _tinted(picture: NDArray[np.uint8], strength: NDArray[Any]) -> NDArray[np.uint8]:
    """The colours of ``strength``, in [0, 1], over the picture, the more opaque the higher it is."""
    strength = _resized(strength, picture.shape[:2])
    colours = optional_import("matplotlib", "train").colormaps["plasma"](strength)[..., :3] * 255
    mixed: NDArray[np.uint8] = np.rint(picture + _OPACITY * strength[..., None] * (colours - picture)).astype(np.uint8)
    return mixed


_GAP, _LINE = 8, 20


def save_routing(pictures: Mapping[str, NDArray[np.uint8]], path: str | Path) -> None:
    """Write pictures of :func:`routing_pictures` as one sheet: a row a block, each picture under its name; PNG.

    Raises:
        UserError: There is no picture, another ending, it cannot be written, or Pillow is not installed.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: routing is drawn as PNG; let the name end in .png")
    if not pictures:
        raise UserError(f"{path}: there are no pictures of routing to draw")
    save_image(_sheet(pictures), path)


def _sheet(pictures: Mapping[str, NDArray[np.uint8]]) -> Image.Image:
    pillow, pen_of, fonts = (optional_import(f"PIL.{name}", "train") for name in ("Image", "ImageDraw", "ImageFont"))
    rows: dict[str, list[str]] = {}
    for name in pictures:
        rows.setdefault(name.rpartition(" ")[0], []).append(name)
    height, width = next(iter(pictures.values())).shape[:2]
    cell = max(width, 200)
    columns = max(len(names) for names in rows.values())
    size = (_GAP + columns * (cell + _GAP), _GAP + len(rows) * (height + _LINE + _GAP))
    sheet: Image.Image = pillow.new("RGB", size, (24, 24, 24))
    pen, font = pen_of.Draw(sheet), fonts.load_default(13)
    for i, names in enumerate(rows.values()):
        for j, name in enumerate(names):
            left, top = _GAP + j * (cell + _GAP), _GAP + i * (height + _LINE + _GAP)
            pen.text((left, top), name, (225, 225, 225), font)
            sheet.paste(pillow.fromarray(pictures[name]), (left, top + _LINE))
    return sheet
