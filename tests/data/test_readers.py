"""Unusual files are read rightly and say how; hostile ones end in one line that names the file and the cure."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageCms, ImageFile

from glocal.data import image_size, read_image, read_mask
from glocal.data._decode import PIXEL_LIMIT
from glocal.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (11, 17), np.uint8)
RGB = RNG.integers(0, 256, (11, 17, 3), np.uint8)
SMOOTH = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8) * 3


def save(path: Path, array: np.ndarray | Image.Image, **options: object) -> Path:
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def png(
    path: Path, width: int, height: int, bits: int, colour: int, data: bytes, interlace: int = 0, extra: bytes = b""
) -> Path:
    """A PNG written by hand; ``data`` is what is inside the zlib stream."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    body = b"".join((chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(path: Path, array: np.ndarray, bits: int, kind: int = 1, photometric: int = 1, data: bytes = b"") -> Path:
    """A grey little-endian TIFF written by hand. ``kind``: 1 unsigned, 2 signed, 3 floating point."""
    data = data or array.astype(array.dtype.newbyteorder("<")).tobytes()
    height, width = array.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ({**tags, 339: kind}).items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    return path


# ---- ordinary and unusual images ----


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp", "jp2", "ppm"])
def test_lossless_rgb_is_what_was_written(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    picture = read_image(save(tmp_path / f"x.{suffix}", RGB, **options))
    assert_array_equal(picture.pixels, RGB)
    assert picture.notes == ()
    assert (picture.size, picture.channels, picture.is_grey) == ((11, 17), 3, False)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pgm"])
def test_grey_has_one_channel(tmp_path: Path, suffix: str) -> None:
    picture = read_image(save(tmp_path / f"x.{suffix}", GREY))
    assert_array_equal(picture.pixels, GREY[:, :, None])
    assert picture.pixels.dtype == np.uint8
    assert picture.is_grey


def test_grey_kept_as_rgb_stays_rgb_and_is_known_to_be_grey(tmp_path: Path) -> None:
    picture = read_image(save(tmp_path / "x.png", np.repeat(GREY[:, :, None], 3, 2)))
    assert picture.channels == 3
    assert picture.is_grey


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_range(tmp_path: Path, suffix: str) -> None:
    deep = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
    picture = read_image(save(tmp_path / f"x.{suffix}", deep))
    assert_array_equal(picture.pixels[..., 0], deep)
    assert picture.notes == ("16-bit grey kept",)
    assert_allclose(picture.unit(1)[..., 0], deep / 65535, atol=1e-6)


def test_12_bit_grey_fills_the_16_bits(tmp_path: Path) -> None:
    values = np.array([[0, 4095], [2048, 1]], np.uint16)
    packed = b"".join(int((int(a) << 12) | int(b)).to_bytes(3, "big") for a, b in values)
    picture = read_image(tiff(tmp_path / "x.tif", values, 12, data=packed))
    assert_allclose(picture.unit(1)[..., 0], values / 4095, atol=2e-5)
    assert "12-bit grey scaled to 16 bits" in picture.notes


def test_white_is_zero_is_inverted(tmp_path: Path) -> None:
    values = np.array([[0, 65535, 1000]], np.uint16)
    picture = read_image(tiff(tmp_path / "x.tif", values, 16, photometric=0))
    assert_array_equal(picture.pixels[..., 0], 65535 - values)
    assert any("inverted" in note for note in picture.notes)


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0.0, 0.25, 1.0], [0, 16384, 65535], "[0, 1]"),
        ([0.0, 100.0, 255.0], [0, 25700, 65535], "[0, 255]"),
        ([-1000.0, 0.0, 3000.0], [0, 16384, 65535], "-1000 to 3000 stretched"),
        ([7e5, 7e5, 7e5], [0, 0, 0], "stretched"),
    ],
)
def test_floating_point_is_scaled_by_its_range(
    tmp_path: Path, values: list[float], expected: list[int], note: str
) -> None:
    picture = read_image(tiff(tmp_path / "x.tif", np.array([values], np.float32), 32, kind=3))
    assert picture.pixels[0, :, 0].tolist() == expected
    assert note in picture.notes[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 300, 65535], [0, 300, 65535]),
        ([-1024, 0, 3072], [0, 16384, 65535]),
        ([0, 65536, 131072], [0, 32768, 65535]),
    ],
)
def test_32_bit_whole_numbers(tmp_path: Path, values: list[int], expected: list[int]) -> None:
    picture = read_image(tiff(tmp_path / "x.tif", np.array([values], np.int32), 32, kind=2))
    assert picture.pixels[0, :, 0].tolist() == expected
    assert "32-bit whole numbers" in picture.notes[0]


def test_16_bit_colour_is_reduced_and_said(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (4, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    picture = read_image(png(tmp_path / "x.png", 5, 4, 16, 2, rows))
    assert_array_equal(picture.pixels, (deep >> 8).astype(np.uint8))
    assert picture.notes == ("16-bit colour reduced to 8 bits",)


def test_interlaced_png_is_put_together(tmp_path: Path) -> None:
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b"".join(
        b"\0" + row.tobytes() for y, x, down, right in passes for row in GREY[y::down, x::right] if row.size
    )
    picture = read_image(png(tmp_path / "x.png", 17, 11, 8, 0, data, interlace=1))
    assert_array_equal(picture.pixels[..., 0], GREY)


def test_palette_is_applied_and_stays_grey_if_it_is(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (256, 3), np.uint8)
    indexed = Image.fromarray(GREY).convert("P")
    indexed.putpalette(colours.tobytes())
    picture = read_image(save(tmp_path / "colour.png", indexed))
    assert_array_equal(picture.pixels, colours[GREY])
    assert picture.notes == ("palette applied",)
    indexed.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    assert_array_equal(read_image(save(tmp_path / "grey.png", indexed)).pixels, 255 - GREY[:, :, None])


def test_palette_with_transparency_is_blended_with_black(tmp_path: Path) -> None:
    indexed = Image.fromarray((GREY % 2).astype(np.uint8)).convert("P")
    indexed.putpalette([200, 100, 50, 10, 20, 30])
    picture = read_image(save(tmp_path / "x.png", indexed, transparency=bytes([0, 255])))
    assert_array_equal(picture.pixels[GREY % 2 == 0], 0)
    assert_array_equal(picture.pixels[GREY % 2 == 1][0], [10, 20, 30])
    assert "transparent pixels blended with black" in picture.notes


def test_1_bit_becomes_0_and_255(tmp_path: Path) -> None:
    for suffix, options in (("png", {}), ("tif", {"compression": "group4"}), ("bmp", {})):
        picture = read_image(save(tmp_path / f"x.{suffix}", Image.fromarray(GREY > 99), **options))
        assert_array_equal(picture.pixels[..., 0], np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("grey", [True, False])
def test_alpha(tmp_path: Path, grey: bool) -> None:
    alpha = np.full((11, 17, 1), 255, np.uint8)
    colour = GREY[:, :, None] if grey else RGB
    mode = "LA" if grey else "RGBA"
    opaque = read_image(save(tmp_path / "opaque.png", Image.fromarray(np.concatenate([colour, alpha], 2), mode)))
    assert_array_equal(opaque.pixels, colour)
    assert opaque.notes == ("opaque alpha channel dropped",)
    alpha[:5] = 128
    alpha[7:] = 0
    half = read_image(save(tmp_path / "half.png", Image.fromarray(np.concatenate([colour, alpha], 2), mode)))
    assert_allclose(half.pixels, colour * (alpha / 255), atol=0.51)
    assert half.notes == ("transparent pixels blended with black",)


def test_cmyk_jpeg_has_the_right_polarity(tmp_path: Path) -> None:
    light = Image.new("RGB", (16, 16), (250, 200, 180))
    for suffix in ("jpg", "tif"):
        picture = read_image(save(tmp_path / f"x.{suffix}", light.convert("CMYK")))
        assert_allclose(picture.pixels[8, 8], [250, 200, 180], atol=4)
        assert "CMYK converted to RGB" in picture.notes


def test_cielab_becomes_rgb(tmp_path: Path) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    there = ImageCms.profileToProfile(Image.new("RGB", (8, 8), (200, 60, 30)), srgb, lab, outputMode="LAB")
    picture = read_image(save(tmp_path / "x.tif", there))
    assert_allclose(picture.pixels[4, 4], [200, 60, 30], atol=3)


def test_ycbcr_tiff_becomes_rgb(tmp_path: Path) -> None:
    there = Image.new("RGB", (8, 8), (200, 60, 30)).convert("YCbCr")
    assert_allclose(read_image(save(tmp_path / "x.tif", there)).pixels[4, 4], [200, 60, 30], atol=3)


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.T, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_to_images_and_masks(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"x.{suffix}", GREY, exif=exif, **options)
    expected = UPRIGHT[orientation](GREY)
    picture = read_image(path)
    assert_array_equal(picture.pixels[..., 0], expected)
    assert image_size(path) == expected.shape
    assert_array_equal(read_mask(path).values, expected)
    assert any("upright" in note for note in picture.notes) == (orientation != 1)


def test_orientation_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = save(tmp_path / "x.png", GREY).read_bytes()
    (tmp_path / "x.png").write_bytes(whole[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + whole[-12:])
    assert_array_equal(read_image(tmp_path / "x.png").pixels[..., 0], np.rot90(GREY, -1))
    assert image_size(tmp_path / "x.png") == (17, 11)


def test_nonsense_orientation_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read_image(save(tmp_path / "x.jpg", GREY, exif=exif)).size == (11, 17)


def test_first_page_unless_another_is_asked(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 20, 30)]
    path = save(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:])
    first = read_image(path)
    assert (int(first.pixels[0, 0, 0]), first.pages, first.notes) == (10, 3, ("page 1 of 3",))
    assert int(read_image(path, page=2).pixels[0, 0, 0]) == 30
    with pytest.raises(UserError, match="no page 3; the file has 3"):
        read_image(path, page=3)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (9, 6), (value, 0, 0)) for value in (255, 100, 30)]
    options = {"lossless": True} if suffix == "webp" else {}
    picture = read_image(save(tmp_path / f"x.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options))
    assert_array_equal(picture.pixels[3, 4], [255, 0, 0])
    assert "page 1 of 3" in picture.notes


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 1)])
def test_tiny_and_elongated(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = RNG.integers(0, 256, shape, np.uint8)
    path = save(tmp_path / "x.png", values)
    assert_array_equal(read_image(path).pixels[..., 0], values)
    assert read_image(path).unit(3).shape == (*shape, 3)
    assert_array_equal(read_mask(path).values, values)


@pytest.mark.parametrize(
    "name", ["a b.png", "häßlich – 图像.png", "-rf.png", "new\nline.png", "100%.png", "no_ending", "x" * 251 + ".png"]
)
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save(path, GREY, format="PNG")
    assert_array_equal(read_image(path).pixels[..., 0], GREY)


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    picture = read_image(save(tmp_path / "x.png", Image.fromarray(SMOOTH), format="JPEG"))
    assert picture.size == SMOOTH.shape
    assert picture.notes == ("content is JPEG though the name ends in .png",)


def test_unit_repeats_grey_and_weighs_rgb() -> None:
    from glocal.data import Picture

    grey = Picture(GREY[:, :, None])
    assert_allclose(grey.unit(3)[..., 1], GREY / 255, atol=1e-7)
    assert grey.unit(1).dtype == np.float32
    rgb = Picture(RGB)
    assert_allclose(rgb.unit(1)[..., 0], RGB @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    assert rgb.unit(1).max() <= 1
    with pytest.raises(ValueError, match="not 2"):
        rgb.unit(2)


# ---- masks ----


def test_masks_keep_raw_values(tmp_path: Path) -> None:
    labels = (GREY % 4).astype(np.uint8)
    deep = labels.astype(np.uint16) * 300
    assert_array_equal(read_mask(save(tmp_path / "a.png", labels)).values, labels)
    assert_array_equal(read_mask(save(tmp_path / "b.png", deep)).values, deep)
    assert_array_equal(read_mask(save(tmp_path / "c.png", Image.fromarray(labels > 1))).values, (labels > 1) * 255)
    assert_array_equal(read_mask(save(tmp_path / "d.png", np.repeat(labels[:, :, None], 3, 2))).values, labels)
    whole = read_mask(tiff(tmp_path / "e.tif", labels.astype(np.float32), 32, kind=3))
    assert_array_equal(whole.values, labels)


def test_colours_stay_colours(tmp_path: Path) -> None:
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    labels = (GREY % 3).astype(np.uint8)
    assert_array_equal(read_mask(save(tmp_path / "a.png", palette[labels])).values, palette[labels])
    opaque = np.concatenate([palette[labels], np.full((11, 17, 1), 255, np.uint8)], 2)
    assert_array_equal(read_mask(save(tmp_path / "b.png", opaque)).values, palette[labels])


def test_indexed_masks_give_the_index_and_know_their_colours(tmp_path: Path) -> None:
    labels = (GREY % 3).astype(np.uint8)
    indexed = Image.fromarray(labels).convert("P")
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    mask = read_mask(save(tmp_path / "x.png", indexed))
    assert_array_equal(mask.values, labels)
    assert mask.palette is not None
    assert mask.palette[2].tolist() == [0, 255, 0]


def test_indexed_masks_with_an_opaque_palette_are_indices_and_transparent_ones_colours(tmp_path: Path) -> None:
    labels = (GREY % 3).astype(np.uint8)
    indexed = Image.fromarray(labels).convert("P")
    indexed.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
    opaque = read_mask(save(tmp_path / "x.png", indexed, transparency=bytes([255, 255, 255])))
    assert_array_equal(opaque.values, labels)
    clear = read_mask(save(tmp_path / "y.png", indexed, transparency=bytes([0, 255, 255])))
    assert_array_equal(clear.values, np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]])[labels])


def test_grey_palettes_give_shades_whatever_their_order(tmp_path: Path) -> None:
    labels = (GREY % 2).astype(np.uint8)
    for number, palette in enumerate(([0, 0, 0, 255, 255, 255], [255, 255, 255, 0, 0, 0])):
        indexed = Image.fromarray(labels if number == 0 else 1 - labels).convert("P")
        indexed.putpalette(palette)
        for suffix in ("gif", "png"):
            mask = read_mask(save(tmp_path / f"{number}.{suffix}", indexed))
            assert_array_equal(mask.values, labels * 255)


def test_grey_jpeg_kept_in_colour_is_one_channel(tmp_path: Path) -> None:
    binary = np.zeros((40, 40), np.uint8)
    binary[10:25, 7:30] = 255
    mask = read_mask(save(tmp_path / "x.jpg", np.repeat(binary[:, :, None], 3, 2), quality=60))
    assert mask.values.ndim == 2
    assert mask.lossy
    assert_array_equal(mask.values > 127, binary > 127)


def test_fractions_are_no_labels(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", np.array([[0.0, 0.5]], np.float32), 32, kind=3)
    with pytest.raises(UserError, match=r"x\.tif: a mask holds fractions"):
        read_mask(path)
    with pytest.raises(UserError, match="-1 to 0"):
        read_mask(tiff(tmp_path / "y.tif", np.array([[0, -1]], np.int32), 32, kind=2))


# ---- hostile files ----


def refused(path: Path) -> str:
    """The one line with which both readers refuse a file."""
    for read in (read_mask, read_image):
        with pytest.raises(UserError) as caught:
            read(path)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message.replace(str(path), "")
        assert len(message) > len(str(path)) + 20
    return message


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "gif", "webp", "ppm", "jp2"])
def test_truncation_is_noticed_wherever_it_is(tmp_path: Path, suffix: str) -> None:
    whole = save(tmp_path / f"whole.{suffix}", RGB).read_bytes()
    path = tmp_path / f"x.{suffix}"
    for length in {1, 2, 9, *range(3, len(whole) - 4, max(1, len(whole) // 40))}:
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_truncated_compressed_tiff_says_nothing_on_its_own(
    tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = save(tmp_path / "whole.tif", RGB, compression=compression).read_bytes()
    path = tmp_path / "x.tif"
    for length in range(10, len(whole), 37):
        path.write_bytes(whole[:length])
        refused(path)
    assert capfd.readouterr().err == ""


def test_every_flipped_byte_of_a_png_is_noticed(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.png", GREY).read_bytes()
    path = tmp_path / "x.png"
    for place in range(len(whole) - 12):  # the last chunk is empty; nothing depends on it
        broken = bytearray(whole)
        broken[place] ^= 0x20
        path.write_bytes(broken)
        refused(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert "folder" in refused(tmp_path / "folder.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refused(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    assert "link" in refused(tmp_path / "dangling.png")
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    refused(tmp_path / "a.png")
    refused(tmp_path / "missing.png")


def test_what_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for content in (b"", b"\0" * 1000, b"just text\n", b"<svg/>", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        refused(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\nshowpage\n")
    assert "not an image of a known format" in refused(path)


def test_decompression_bombs(tmp_path: Path) -> None:
    for side in (100_000, 10_000):  # above Pillow's error and above its warning
        message = refused(png(tmp_path / "x.png", side, side, 8, 0, bytes(10)))
        assert f"{PIXEL_LIMIT:,}" in message
        assert "reduce" in message
    refused(png(tmp_path / "x.png", 9000, 9000, 8, 0, bytes(10)))  # within the limit, but ten bytes are not 81 million
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20)))
    refused(png(tmp_path / "x.png", 1, 1, 8, 0, b"\0\0", extra=text))


def test_not_a_number_is_counted(tmp_path: Path) -> None:
    values = np.array([[0.5, np.nan, np.inf, -np.inf]], np.float32)
    assert "3 of 4 pixels" in refused(tiff(tmp_path / "x.tif", values, 32, kind=3))


def test_kinds_of_tiff_that_are_not_read_are_named(tmp_path: Path) -> None:
    assert "64-bit" in refused(tiff(tmp_path / "x.tif", np.zeros((2, 2)), 64, kind=3))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_permission(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", GREY)
    path.chmod(0)
    assert "permission" in refused(path)


def test_nothing_global_is_changed_and_no_warning_escapes(tmp_path: Path) -> None:
    """Also when the caller turns warnings into errors."""
    exif = Image.Exif()
    exif[0x0112] = 6
    good = save(tmp_path / "x.jpg", SMOOTH, exif=exif)
    raw = bytearray(good.read_bytes())
    odd = tmp_path / "odd.jpg"
    place = raw.find(b"Exif\0\0")
    raw[place + 14 : place + 16] = (
        b"\x40\0" if raw[place + 6 : place + 8] == b"II" else b"\0\x40"
    )  # 64 tags, in truth 1
    odd.write_bytes(raw)
    bomb = png(tmp_path / "bomb.png", 10_000, 10_000, 8, 0, bytes(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = (warnings.filters[:], Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.showwarning)
        assert any("orrupt EXIF" in note for note in read_image(odd).notes)
        refused(bomb)
        after = (warnings.filters[:], Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.showwarning)
    assert before == after


def test_threads_read_the_same(tmp_path: Path) -> None:
    arrays = [RNG.integers(0, 256, (20, 30), np.uint8) for _ in range(8)]
    paths = [save(tmp_path / f"{i}.tif", array) for i, array in enumerate(arrays)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(save(tmp_path / "x.png", GREY).read_bytes()[:-30])

    def read(number: int) -> bool:
        if number % 9 == 8:
            refused(broken)
            return True
        return bool((read_image(paths[number % 9]).pixels[..., 0] == arrays[number % 9]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(180)))


def test_an_open_stream_is_not_left_behind(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", GREY)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    pictures = [read_image(path) for _ in range(20)]
    with pytest.raises(UserError):
        read_image(tmp_path / "missing.png")
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert len(pictures) == 20
    assert after == before


def test_pixels_can_be_written_to(tmp_path: Path) -> None:
    picture = read_image(save(tmp_path / "x.png", GREY))
    picture.pixels[0, 0, 0] = 7
    assert picture.pixels.flags.c_contiguous


def test_a_path_may_be_text(tmp_path: Path) -> None:
    assert_array_equal(read_image(str(save(tmp_path / "x.png", GREY))).pixels[..., 0], GREY)


def test_the_first_picture_of_a_stereo_jpeg(tmp_path: Path) -> None:
    pages = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    path = save(tmp_path / "x.jpg", pages[0], format="MPO", save_all=True, append_images=pages[1:], quality=95)
    picture = read_image(path)
    assert_allclose(picture.pixels[..., 0].astype(int), SMOOTH, atol=4)
    assert picture.notes == ("page 1 of 2",)
