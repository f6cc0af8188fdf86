"""One image file opened with suspicion: every way it can be bad ends in one line that names it and the cure."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

optional_import("PIL", "train")

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError  # noqa: E402  (after the check that it is there)

__all__ = ["FORMATS", "PIXEL_LIMIT", "Decoded", "decode", "decode_pages", "header_size", "page_kinds"]

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
"""What is decoded, recognised by content. Formats that run a program (EPS) or fetch a file (FPX) are not among them."""

PIXEL_LIMIT = 89_478_485
"""Largest image, in pixels: a quarter of a GiB in RGB, Pillow's own bound for what is no decompression bomb."""

_MAGIC = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
}
_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".j2c"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WARNINGS = threading.Lock()  # warnings.catch_warnings replaces a global for a moment: one thread at a time


@dataclass(frozen=True)
class Decoded:
    """A decoded, upright page of an image file, still in the mode it is stored in."""

    image: Image.Image
    format: str
    bits: int
    """Bits per channel in the file, where they differ from the mode's: 12, or 16 of a colour image; otherwise 0."""
    white_is_zero: bool
    """Larger numbers are darker, and the decoder left them so (TIFF of 16 or 32 bits)."""
    pages: int
    notes: tuple[str, ...]

    @property
    def lossy(self) -> bool:
        """Values may have been changed by compression."""
        return self.format in ("JPEG", "MPO", "WEBP", "JPEG2000")


def _unreadable(path: Path, head: bytes) -> UserError:
    name = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if name == "TIFF":
        return UserError(
            f"{path}: this TIFF is damaged or of a kind that is not read (64-bit float, more than four channels); "
            "copy it again from its source or save it as 8- or 16-bit PNG"
        )
    if name:
        return UserError(f"{path}: this {name} file is damaged; copy it again from its source")
    return UserError(
        f"{path}: the content is not an image of a known format (PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM); "
        "convert the file or remove it"
    )


def _too_large(path: Path, size: tuple[int, int] | None = None) -> UserError:
    what = f"{size[0]}x{size[1]} pixels are" if size else "the number of pixels is"
    return UserError(
        f"{path}: {what} above the limit of {PIXEL_LIMIT:,} (a damaged or hostile file, or a whole slide); "
        "cut it into tiles or reduce it"
    )


@contextlib.contextmanager
def _suspicion(path: Path) -> Iterator[None]:
    """Whatever a decoder raises about the file's content becomes one line about the file."""
    try:
        yield
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path) from None
    except PermissionError:
        raise UserError(f"{path}: permission denied; make the file readable") from None
    except MemoryError:
        raise UserError(f"{path}: not enough memory to decode this image; reduce it or free memory") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, zlib.error, …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: damaged or truncated ({reason}); copy it again from its source") from error


@contextlib.contextmanager
def _warnings_as_notes(notes: list[str]) -> Iterator[None]:
    with _WARNINGS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
    for warning in caught:
        text = " ".join(str(warning.message).split())
        if Path(warning.filename).parent.name != "PIL":  # of another thread, caught by accident
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif text not in notes:
            notes.append(text)


def _open(path: Path, stream: IO[bytes], notes: list[str]) -> Image.Image:
    head = stream.read(16)
    stream.seek(0)
    try:
        with _warnings_as_notes(notes):
            image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(path, head) from None
    if image.width * image.height > PIXEL_LIMIT:
        raise _too_large(path, image.size)
    return image


def _orientation(image: Image.Image, notes: list[str]) -> int:
    with _warnings_as_notes(notes):
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _bits(image: Image.Image) -> int:
    layout = repr(getattr(image, "tile", ()))
    if ";12" in layout:
        return 12
    return 16 if ";16" in layout and not image.mode.startswith("I") else 0


def _count(image: Image.Image, notes: list[str]) -> int:
    """Number of pages."""
    with _warnings_as_notes(notes):
        return int(getattr(image, "n_frames", 1))


def _page(path: Path, image: Image.Image, page: int, notes: list[str]) -> int:
    """Go to ``page``; return how many there are."""
    pages = _count(image, notes)
    if not 0 <= page < pages:
        raise UserError(f"{path}: there is no page {page}; the file has {pages}, counted from 0")
    if pages > 1:
        notes.append(f"page {page + 1} of {pages}")
        with _warnings_as_notes(notes):
            image.seek(page)
        if image.width * image.height > PIXEL_LIMIT:
            raise _too_large(path, image.size)
    return pages


def _require_whole_tiff(image: TiffImagePlugin.TiffImageFile, stream: IO[bytes], notes: list[str]) -> None:
    """See that a TIFF is as long as its directory claims before libtiff does, which prints to stderr by itself."""
    cut = [note for note in notes if re.search("Truncated File|larger than file|too large|Expecting to read", note)]
    if cut:
        raise OSError(cut[0])
    place = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(place)
    for offsets, lengths in ((273, 279), (324, 325)):  # strips, tiles
        for offset, length in zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(lengths, ()), strict=False):
            if offset + length > end:
                raise OSError(f"pixels are missing after byte {end}")


def decode(path: str | Path, page: int = 0) -> Decoded:
    """Decode one page of an image file completely, check it, and turn it upright.

    PNG checksums are verified. JPEG has none: damage inside its data that leaves it decodable cannot be seen.

    Args:
        path: An image file; its format is told from its content.
        page: Page of a multi-page TIFF or frame of an animation, from 0.

    Raises:
        UserError: The file cannot be read, is damaged, truncated, too large (``PIXEL_LIMIT``) or no image.
    """
    path = require_regular_file(path)
    notes: list[str] = []
    with _suspicion(path), path.open("rb") as stream:
        image = _open(path, stream, notes)
        if image.format == "PNG":
            image.verify()  # reads every chunk and its checksum; the image is spent afterwards
            stream.seek(0)
            image = _open(path, stream, [])
        return _decoded(path, stream, image, page, notes)


def decode_pages(path: str | Path) -> Iterator[Decoded]:
    """Decode every page of a TIFF, one after another in one pass; each is spent when the next is asked for.

    Raises:
        UserError: As :func:`decode`.
    """
    path = require_regular_file(path)
    with _suspicion(path), path.open("rb") as stream:
        image = _open(path, stream, [])
        for page in range(_count(image, [])):
            yield _decoded(path, stream, image, page, [])


def page_kinds(path: str | Path) -> list[tuple[tuple[int, int], str]]:
    """Size (height, width) and Pillow's mode of every page of a TIFF, from their headers alone.

    Raises:
        UserError: As :func:`decode`, as far as the headers show it.
    """
    path = require_regular_file(path)
    kinds = []
    with _suspicion(path), path.open("rb") as stream:
        image = _open(path, stream, [])
        for page in range(_count(image, [])):
            _page(path, image, page, [])
            kinds.append(((image.height, image.width), image.mode))
    return kinds


def _decoded(path: Path, stream: IO[bytes], image: Image.Image, page: int, notes: list[str]) -> Decoded:
    kind = image.format or ""
    pages = _page(path, image, page, notes)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _require_whole_tiff(image, stream, notes)
    bits = _bits(image)
    white_is_zero = (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.mode[0] in "IF"
        and image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0
    )
    turned = _orientation(image, notes) if kind != "PNG" else 1
    image.load()
    if kind == "PNG":
        turned = _orientation(image, notes)  # its EXIF may come after the pixels
    if turned != 1:
        notes.append("turned upright as its EXIF orientation says")
        if kind != "TIFF":  # whose decoder does it
            image = image.transpose(_UPRIGHT[turned])
    if path.suffix.lower() not in _SUFFIXES.get(kind, (path.suffix.lower(),)):
        notes.append(f"content is {kind} though the name ends in {path.suffix or 'nothing'}")
    return Decoded(image, kind, bits, white_is_zero, pages, tuple(notes))


def _has_late_exif(stream: IO[bytes]) -> bool:
    """Whether a PNG says its orientation after its pixels."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        if head[4:] == b"eXIf":
            return True
        stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def header_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an upright image, in pixels, from its header alone.

    Raises:
        UserError: As :func:`decode`, as far as the header shows it.
    """
    path = require_regular_file(path)
    notes: list[str] = []
    with _suspicion(path), path.open("rb") as stream:
        image = _open(path, stream, notes)
        width, height = image.size
        if image.format != "PNG" or "exif" in image.info:
            turned = _orientation(image, notes)
        elif _has_late_exif(stream):
            (width, height), turned = decode(path).image.size, 1
        else:
            turned = 1
    return (width, height) if turned >= 5 and image.format != "TIFF" else (height, width)
