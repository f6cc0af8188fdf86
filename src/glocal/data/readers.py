"""Image files of every usual kind as upright arrays, and masks as raw label values; each says how it was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glocal.data._decode import Decoded, decode, header_size
from glocal.data.volumes.arrays import IMAGE_KEYS, LABEL_KEYS
from glocal.data.volumes.dicom_header import DICOM_SUFFIXES
from glocal.data.volumes.dicom_picture import dicom_picture
from glocal.data.volumes.opening import open_any, volume_kind
from glocal.data.volumes.volume import VolumeFile
from glocal.errors import UserError
from glocal.files import require_regular_file

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_SUFFIXES", "Mask", "Picture", "image_size", "picture_of", "read_image", "read_mask"]

IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib"),
        *(".gif", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
        *DICOM_SUFFIXES,
    )
)
"""Endings, in lower case, of files that are taken for images when a folder is searched."""

Pixels: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""``uint8`` or ``uint16``."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_NEAR_GREY = 12  # largest difference of channels that JPEG leaves in a grey image stored as colour


@dataclass(frozen=True, eq=False)
class Picture:
    """An image: ``pixels`` ``(H, W, C)``, ``uint8`` or ``uint16`` over its full range, C 1 (grey) or 3 (RGB), upright.

    ``notes`` says what was done to get there; an ordinary 8-bit file has none.
    """

    pixels: Pixels
    notes: tuple[str, ...] = ()
    pages: int = 1
    """Pages, frames or slices in the file; one was read."""
    spacing: tuple[float, float] | None = None
    """Distance of pixels along y and x in mm, where a medical format says it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.pixels.shape[2])

    @property
    def is_grey(self) -> bool:
        """Whether it holds no colour: one channel, or three equal ones."""
        first = self.pixels[..., :1]
        return self.channels == 1 or bool((self.pixels[..., 1:] == first).all())

    def unit(self, channels: int) -> npt.NDArray[np.float32]:
        """The image in [0, 1]: ``float32 (H, W, channels)``.

        Grey becomes RGB by repetition; RGB becomes grey by the luma of ITU-R BT.601.

        Args:
            channels: 1 or 3.

        Raises:
            ValueError: Another number of channels.
        """
        if channels not in (1, 3):
            raise ValueError(f"an image has 1 or 3 channels, not {channels}; use channels=1 or channels=3")
        unit = self.pixels.astype(np.float32) / np.float32(np.iinfo(self.pixels.dtype).max)
        if channels == self.channels:
            return unit
        if channels == 3:
            return np.repeat(unit, 3, axis=2)
        return np.clip(unit @ _LUMA[:, None], 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask as it is in its file: label values ``(H, W)``, ``uint8`` or ``uint16``, or colours ``(H, W, 3)``."""

    values: Pixels
    notes: tuple[str, ...] = ()
    palette: npt.NDArray[np.uint8] | None = None
    """``(K, 3)``: the colour of each value, if the file has a coloured palette."""
    lossy: bool = False
    """Compression may have changed values (JPEG)."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.values.shape[0], self.values.shape[1]


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the upright image in pixels, from the file's header alone.

    Raises:
        UserError: As :func:`read_image`, as far as the header shows it.
    """
    path = require_regular_file(path)
    if volume_kind(path) is None:
        return header_size(path)
    return open_any(path, None, None, False, IMAGE_KEYS).shape[1:]


def read_image(path: str | Path, *, page: int = 0) -> Picture:
    """Read an image: PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM or DICOM, told from the content.

    Also one slice of NIfTI, MetaImage, NRRD, NPY, NPZ or HDF5.

    * 8-bit grey and RGB stay as they are, also RGB with three equal channels (``Picture.is_grey``).
    * 16-bit grey stays ``uint16``; 12-bit grey is scaled to 16 bits; 16-bit colour is reduced to 8 bits.
    * Whole numbers of 32 bits (and signed 16) within 0 … 65535 become ``uint16`` unchanged; otherwise their range is
      stretched to 0 … 65535.
    * Floating point within [0, 1] is multiplied by 65535, within [0, 255] by 257; otherwise its range is stretched.
    * 1 bit becomes 0 and 255; a palette is applied; CMYK, YCbCr and CIELAB become RGB.
    * Opaque alpha is dropped; transparent pixels are blended with black.
    * EXIF orientation is applied; the first page or frame is read.
    * DICOM is shown as a viewer shows it: real units, the file's window or table, MONOCHROME1 inverted, colour as RGB.

    Args:
        path: The file.
        page: Page of a multi-page TIFF, frame of an animation or a cine, or slice of a volume, from 0.

    Raises:
        UserError: The file is missing, unreadable, damaged, truncated, no image, above ``PIXEL_LIMIT`` pixels, or holds
            NaN or infinity.
    """
    path = require_regular_file(path)
    if volume_kind(path) is not None:
        return _medical(path, page)
    return _picture(path, decode(path, page))


def _medical(path: Path, page: int) -> Picture:
    """A frame of DICOM, or a slice of another volume."""
    if volume_kind(path) == "DICOM":
        frame = dicom_picture(path, page)
        pixels = frame.pixels if frame.pixels.ndim == 3 else frame.pixels[:, :, None]
        return Picture(_own(pixels), frame.notes, frame.frames, frame.spacing)
    file = open_any(path, None, None, False, IMAGE_KEYS)
    notes = list(file.notes)
    values = _slice(file, page, notes)
    grey: Pixels = values if values.dtype in (np.uint8, np.uint16) else _sixteen_of(path, values, notes)
    return Picture(_own(grey if grey.ndim == 3 else grey[:, :, None]), tuple(notes), len(file), file.plane_spacing)


def _slice(file: VolumeFile, page: int, notes: list[str]) -> npt.NDArray[Any]:
    if not 0 <= page < len(file):
        raise UserError(f"{file.path}: there is no slice {page}; the file has {len(file)}, counted from 0")
    if len(file) > 1:
        notes.append(f"slice {page + 1} of {len(file)}")
    return file.read(page)


def picture_of(image: Image.Image, name: str = "image") -> Picture:
    """A Pillow image as :func:`read_image` gives its file: every mode converted, EXIF orientation applied.

    Args:
        image: The image, opened or made in memory.
        name: What to call it in an error.

    Raises:
        UserError: Its file is damaged, or it holds NaN or infinity.
    """
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:  # a file opened but not yet decoded
        raise UserError(f"{name}: damaged or truncated ({error}); copy it again from its source") from error
    turned = image.getexif().get(0x0112, 1) != 1
    notes = ("turned upright as its EXIF orientation says",) if turned else ()
    return _picture(Path(name), Decoded(upright, image.format or "", 0, False, 1, notes))


def _picture(path: Path, decoded: Decoded) -> Picture:
    notes = list(decoded.notes)
    pixels = _pixels(path, decoded, notes)
    return Picture(_own(pixels if pixels.ndim == 3 else pixels[:, :, None]), tuple(notes), decoded.pages)


def _own(pixels: Pixels) -> Pixels:
    """A writable copy, laid out row by row."""
    return pixels.copy(order="C")


def _pixels(path: Path, decoded: Decoded, notes: list[str]) -> Pixels:
    """``(H, W)`` grey or ``(H, W, 3)``."""
    image = decoded.image
    if image.mode in ("F", "I"):
        return _wide(path, decoded, np.asarray(image), notes)
    if image.mode.startswith("I;16"):
        return _sixteen(decoded, notes)
    if decoded.bits == 16:
        notes.append("16-bit colour reduced to 8 bits")
    if image.has_transparency_data:
        return _blended(decoded, notes)
    if image.mode == "1":
        notes.append("1-bit image read as 0 and 255")
        return np.asarray(image.convert("L"))
    if image.mode == "P":
        notes.append("palette applied")
        return _without_colour(np.asarray(image.convert("RGB")), image.getpalette() or [])
    if image.mode == "LAB":
        notes.append("CIELAB converted to RGB")
        return np.asarray(_rgb_of_lab(decoded))
    if image.mode not in ("L", "RGB"):
        notes.append(f"{image.mode} converted to RGB")
        image = image.convert("RGB")
    return np.asarray(image)


def _without_colour(rgb: npt.NDArray[np.uint8], palette: list[int]) -> npt.NDArray[np.uint8]:
    colours = np.array(palette, np.uint8).reshape(-1, 3)
    return rgb[..., 0] if bool((colours == colours[:, :1]).all()) else rgb


def _rgb_of_lab(decoded: Decoded) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(decoded.image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted


def _blended(decoded: Decoded, notes: list[str]) -> Pixels:
    """Alpha dropped where opaque, otherwise blended with black; LA and grey palettes stay grey."""
    image = decoded.image
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode == "P":
        notes.append("palette applied")
        colours = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
        grey = bool((colours == colours[:, :1]).all())
    rgba = np.asarray(image.convert("RGBA"))
    alpha = rgba[..., 3:].astype(np.uint32)
    if int(alpha.min()) == 255:
        notes.append("opaque alpha channel dropped")
        colour = rgba[..., :3]
    else:
        notes.append("transparent pixels blended with black")
        colour = ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return colour[..., 0] if grey else colour


def _sixteen(decoded: Decoded, notes: list[str]) -> npt.NDArray[np.uint16]:
    values = np.asarray(decoded.image).astype(np.uint16)
    if decoded.bits == 12:
        notes.append("12-bit grey scaled to 16 bits")
        values = ((values << 4) | (values >> 8)).astype(np.uint16)
    else:
        notes.append("16-bit grey kept")
    if decoded.white_is_zero:
        notes.append("inverted, as the file says white is zero")
        values = np.uint16(65535) - values
    transparent = decoded.image.info.get("transparency")
    if isinstance(transparent, int):
        notes.append("transparent pixels blended with black")
        values = np.where(values == transparent, np.uint16(0), values)
    return values


def _wide(path: Path, decoded: Decoded, values: npt.NDArray[np.generic], notes: list[str]) -> npt.NDArray[np.uint16]:
    pixels = _sixteen_of(path, values, notes)
    if decoded.white_is_zero:
        notes.append("inverted, as the file says white is zero")
        pixels = np.uint16(65535) - pixels
    return pixels


def _sixteen_of(path: Path, values: npt.NDArray[np.generic], notes: list[str]) -> npt.NDArray[np.uint16]:
    """Whole or floating-point numbers as ``uint16``; the rule is in :func:`read_image`."""
    real = np.asarray(values, np.float64)
    _refuse_not_finite(path, real)
    low, high = float(real.min()), float(real.max())
    whole = np.issubdtype(values.dtype, np.integer)
    kind = f"{values.dtype.itemsize * 8}-bit whole numbers" if whole else "floating point"
    if whole and low >= 0 and high <= 65535:
        scaled, how = real, "kept as 16-bit grey"
    elif not whole and low >= 0 and high <= 1:
        scaled, how = real * 65535, "in [0, 1] scaled to 16 bits"
    elif not whole and low >= 0 and high <= 255:
        scaled, how = real * 257, "in [0, 255] scaled to 16 bits"
    else:
        scaled = (real - low) * (65535 / (high - low) if high > low else 0.0)
        how = f"from {low:g} to {high:g} stretched to 16 bits"
    notes.append(f"{kind} {how}")
    return np.rint(scaled).astype(np.uint16)


def _refuse_not_finite(path: Path, values: npt.NDArray[np.float64]) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise UserError(
            f"{path}: {bad} of {values.size} pixels are NaN or infinite; replace them by numbers, or remove the file"
        )


def read_mask(path: str | Path, *, page: int = 0) -> Mask:
    """Read a mask: its raw values, without giving them a meaning (:class:`~glocal.data.encoding.Encoding` does).

    * Grey of 8 or 16 bits: the numbers in the file. 1 bit: 0 and 255.
    * A palette in shades of grey: the shades, since writers number such entries in any order. A coloured palette: the
      index, which is the label in an indexed mask; the colours stay available in ``Mask.palette``.
    * RGB with equal channels (nearly equal in a lossy file): one channel. Other RGB: colours ``(H, W, 3)``.
    * Opaque alpha is dropped; transparent pixels become black.
    * Floating point and 32 bits: accepted when every number is whole and within 0 … 65535.

    Args:
        path: The file.
        page: Page of a multi-page TIFF or slice of a volume, from 0.

    Raises:
        UserError: As :func:`read_image`; or values that cannot be labels: fractions, negative or too large numbers.
    """
    path = require_regular_file(path)
    if volume_kind(path) is not None:
        return _medical_mask(path, page)
    decoded = decode(path, page)
    image, notes = decoded.image, list(decoded.notes)
    palette: npt.NDArray[np.uint8] | None = None
    values: Pixels
    if image.mode in ("F", "I"):
        values = _whole_labels(path, np.asarray(image), notes)
    elif image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
    elif image.mode == "P" and not _see_through(image):
        values, palette = _indexed(decoded, notes)
    else:
        pixels = _pixels(path, decoded, notes)
        values = pixels if pixels.ndim == 2 else _one_channel(pixels, decoded.lossy, notes)
    return Mask(_own(values), tuple(notes), palette, decoded.lossy)


def _medical_mask(path: Path, page: int) -> Mask:
    file = open_any(path, None, None, False, LABEL_KEYS)
    notes = list(file.notes)
    values = _slice(file, page, notes)
    labels: Pixels = values if values.dtype in (np.uint8, np.uint16) else _whole_labels(path, values, notes)
    return Mask(_own(labels if labels.ndim == 2 else _one_channel(labels, False, notes)), tuple(notes))


def _see_through(image: Image.Image) -> bool:
    return image.has_transparency_data and int(np.asarray(image.convert("RGBA"))[..., 3].min()) < 255


def _whole_labels(path: Path, values: npt.NDArray[np.generic], notes: list[str]) -> npt.NDArray[np.uint16]:
    real = np.asarray(values, np.float64)
    _refuse_not_finite(path, real)
    if bool((real != np.rint(real)).any()):
        raise UserError(
            f"{path}: a mask holds fractions ({real.min():g} to {real.max():g}), such as probabilities; "
            "save it as whole numbers, one a class"
        )
    if real.min() < 0 or real.max() > 65535:
        raise UserError(
            f"{path}: mask values go from {real.min():g} to {real.max():g}; save it with labels in 0 … 65535"
        )
    notes.append("32-bit whole numbers taken as labels")
    return real.astype(np.uint16)


def _indexed(decoded: Decoded, notes: list[str]) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
    indices = np.asarray(decoded.image)
    colours = np.array(decoded.image.getpalette() or [], np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    shades = colours[used[used < len(colours)], 0]
    if bool((colours == colours[:, :1]).all()) and len(np.unique(shades)) == len(used):
        if bool((shades != used).any()):
            notes.append("grey palette applied")
        return np.asarray(decoded.image.convert("L")), None
    notes.append("indexed mask: value = index")
    return indices, colours


def _one_channel(rgb: Pixels, lossy: bool, notes: list[str]) -> Pixels:
    spread = int((rgb.max(axis=2) - rgb.min(axis=2)).max())
    if spread == 0:
        notes.append("three equal channels taken as one")
        return rgb[..., 0]
    if lossy and spread <= _NEAR_GREY:
        notes.append("three nearly equal channels taken as one")
        return rgb[..., 1]
    return rgb
