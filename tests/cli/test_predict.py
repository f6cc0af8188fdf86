"""``glocal predict`` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import glocal
from glocal.cli import main
from glocal.data import read_mask


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_masks_of_a_folder(trained, discs, capsys):
    assert main(["predict", str(trained), str(discs / "images"), "--output", "out", "--overlay"]) == 0
    shown = capsys.readouterr()
    assert "12 masks in out" in shown.out
    assert "values: 0 background, 1 foreground" in shown.out
    assert "12 images: seen at 32x32" in shown.err
    expected = [f"disc {index:02d}.png" for index in range(12)]
    assert names(Path("out")) == expected + [f"overlays/{name}" for name in expected]
    predictor = glocal.load(trained, device="cpu")
    for name in expected:
        mask = read_mask(Path("out") / name).values
        assert np.array_equal(mask, predictor(discs / "images" / name).mask)
        truth = read_mask(discs / "masks" / name).values > 0
        assert 2 * (mask[truth] == 1).sum() / (mask.sum() + truth.sum()) > 0.5


def test_json_is_alone_on_stdout(trained, discs, capsys):
    words = ["predict", str(trained), str(discs / "images/disc 03.png"), str(discs / "images/disc 00.png")]
    assert main([*words, "--output", "out", "--probabilities", "--json", "--tta", "--batch_size", "2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [Path(one["image"]).name for one in facts] == ["disc 03.png", "disc 00.png"]
    assert facts[0]["mask"] == "out/disc 03.png"
    assert facts[0]["size"] == [40, 40]
    assert sum(facts[0]["pixels"].values()) == 1600
    assert facts[0]["overlay"] is None
    assert facts[0]["notes"] == ["seen at 32x32", "averaged over 2 views"]
    assert Path(facts[0]["probabilities"]).exists()


@pytest.mark.parametrize("name", ["-x.png", "--output.png", "a  b'\"$(c).png", "目 ü.png", "[x]*.png", "x.y.z.png"])
def test_any_file_name(trained, discs, name):
    (discs / "images" / "disc 00.png").rename(name)
    assert main(["predict", str(trained), "--output", "out", "--", name]) == 0
    assert names(Path("out")) == [name]


def plain(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("L")


def unusual_files(source: Path, folder: Path) -> dict[str, Path]:
    """The same picture as files of every kind that holds it exactly."""
    grey = plain(source)
    rgb = grey.convert("RGB")
    folder.mkdir()
    palette = Image.fromarray(255 - np.asarray(grey))
    palette.putpalette([255 - value // 3 for value in range(768)])
    written = {
        "16 bits.png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}),
        "palette.png": (palette, {}),
        "rgba.png": (rgb.convert("RGBA"), {}),
        "la.png": (grey.convert("LA"), {}),
        "pages.tif": (grey, {"save_all": True, "append_images": [Image.new("L", (9, 9)), Image.new("L", (5, 5))]}),
        "float.tif": (Image.fromarray(np.asarray(grey).astype(np.float32)), {}),
        "rgb.bmp": (rgb, {}),
        "cmyk.tif": (rgb.convert("CMYK"), {}),
    }
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned clockwise
    written["exif.png"] = (grey.transpose(Image.Transpose.ROTATE_90), {"exif": turned})
    for name, (image, options) in written.items():
        image.save(folder / name, **options)
    (folder / "jpeg.jpg").write_bytes(source.read_bytes())  # a PNG by another name
    return {name: folder / name for name in [*written, "jpeg.jpg"]}


def test_unusual_files_are_predicted_as_their_plain_equivalent(trained, discs, tmp_path, capsys):
    source = discs / "images" / "disc 00.png"
    files = unusual_files(source, tmp_path / "unusual")
    assert main(["predict", str(trained), str(tmp_path / "unusual"), str(source), "--output", "out"]) == 0
    said = capsys.readouterr().err
    for words in ("16-bit grey kept", "palette applied", "opaque alpha", "page 1 of 3", "CMYK", "turned upright"):
        assert words in said
    expected = read_mask("out/disc 00.png").values
    assert 0 < expected.mean() < 1
    for name, path in files.items():
        mask = read_mask(Path("out") / f"{path.stem}.png").values
        assert mask.shape == expected.shape
        tolerance = 4 if name in ("16 bits.png", "float.tif", "cmyk.tif") else 0  # resized with finer steps; inks
        assert (mask != expected).sum() <= tolerance, name


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 64)])
def test_small_and_elongated_images(trained, size):
    Image.new("RGB", size, (200, 10, 10)).save("x.png")
    assert main(["predict", str(trained), "x.png", "--output", "out", "--overlay", "--tiling", "always"]) == 0
    for path in ("out/x.png", "out/overlays/x.png"):
        with Image.open(path) as image:
            assert image.size == size


def test_one_bit_images(trained, discs):
    grey = plain(discs / "images" / "disc 00.png").point(lambda value: 255 * (value > 100))
    grey.save("eight.png")
    grey.convert("1").save("one.png")
    assert main(["predict", str(trained), "eight.png", "one.png", "--output", "out"]) == 0
    assert np.array_equal(read_mask("out/one.png").values, read_mask("out/eight.png").values)


def test_nothing_is_overwritten_unasked(trained, discs, refused):
    words = ["predict", trained, discs / "images", "--output", "out"]
    assert main([str(word) for word in words]) == 0
    before = {name: Path("out", name).stat().st_mtime_ns for name in names(Path("out"))}
    assert "--overwrite replaces them" in refused(*words)
    assert {name: Path("out", name).stat().st_mtime_ns for name in names(Path("out"))} == before
    assert main([*map(str, words), "--overwrite"]) == 0
    assert "would replace the image" in refused("predict", trained, "out", "--output", "out", "--overwrite")


def test_bad_words(trained, discs, refused):
    assert "Did you mean '--overlay'?" in refused("predict", trained, discs, "--output", "out", "--overlai")
    assert "output" in refused("predict", trained, discs)
    assert "tiling" in refused("predict", trained, discs, "--output", "out", "--tiling", "maybe")
    assert "no such run" in refused("predict", "runs/gone", discs / "images", "--output", "out")
    assert "no such file" in refused("predict", trained, "gone.png", "--output", "out")
    assert not Path("out").exists()


def test_help_has_examples(capsys):
    assert main(["predict", "--help"]) == 0
    assert "glocal predict runs/polyps images/" in capsys.readouterr().out.partition("examples:")[2]
