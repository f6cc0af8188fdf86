"""Raw mask values get the meaning a person would give them, or one line that says why they cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from glocal.data import Encoding, read_mask
from glocal.data.encoding import infer_encoding, mask_facts, read_classes
from glocal.errors import UserError

RNG = np.random.default_rng(3)


def blobs(classes: int, size: int = 32) -> np.ndarray:
    """Class indices ``(size, size)``: one block each, background around."""
    labels = np.zeros((size, size), np.uint8)
    for index in range(1, classes):
        labels[2 + 4 * index : 5 + 4 * index, 4:20] = index
    return labels


def write(folder: Path, *arrays: np.ndarray | Image.Image, suffix: str = "png", **options: object) -> list[Path]:
    paths = []
    for number, array in enumerate(arrays):
        path = folder / f"{number}.{suffix}"
        (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
        paths.append(path)
    return paths


def infer(folder: Path, paths: list[Path]) -> tuple[Encoding, list[str]]:
    return infer_encoding([mask_facts(path) for path in paths], read_classes(folder))


def decoded(encoding: Encoding, path: Path) -> np.ndarray:
    return encoding.apply(read_mask(path), path)


@pytest.mark.parametrize("values", [[0, 255], [0, 1], [0, 1, 2, 3], [0, 128, 255], [0, 85, 170, 255], [3, 7, 200]])
def test_values_in_rising_order_are_the_classes(tmp_path: Path, values: list[int]) -> None:
    labels = blobs(len(values))
    (path,) = write(tmp_path, np.array(values, np.uint8)[labels])
    encoding, notes = infer(tmp_path, [path])
    assert encoding.classes == len(values)
    assert_array_equal(decoded(encoding, path), labels)
    assert decoded(encoding, path).dtype == np.uint8
    obvious = values in ([0, 255], [0, 1], [0, 1, 2, 3])
    assert bool(notes) == (not obvious)


def test_16_bit_values(tmp_path: Path) -> None:
    labels = blobs(3)
    (path,) = write(tmp_path, np.array([0, 1000, 65535], np.uint16)[labels])
    encoding, _ = infer(tmp_path, [path])
    assert_array_equal(decoded(encoding, path), labels)


def test_a_class_missing_in_one_mask_is_taken_from_another(tmp_path: Path) -> None:
    labels = blobs(3)
    paths = write(tmp_path, np.where(labels == 1, 0, labels).astype(np.uint8), np.where(labels == 2, 0, labels))
    encoding, notes = infer(tmp_path, paths)
    assert (encoding.classes, notes) == (3, [])
    assert set(np.unique(decoded(encoding, paths[0]))) == {0, 2}


def test_masks_of_0_and_1_beside_masks_of_0_and_255(tmp_path: Path) -> None:
    labels = blobs(2)
    paths = write(tmp_path, labels, labels * 255)
    encoding, notes = infer(tmp_path, paths)
    assert encoding.classes == 2
    assert "others 0 and 255" in notes[0]
    assert_array_equal(decoded(encoding, paths[0]), decoded(encoding, paths[1]))


def test_255_among_small_labels_is_asked_about(tmp_path: Path) -> None:
    (path,) = write(tmp_path, np.array([0, 1, 2, 255], np.uint8)[blobs(4)])
    encoding, notes = infer(tmp_path, [path])
    assert encoding.classes == 4
    assert "ignore" in notes[0]


def test_empty_masks_are_binary(tmp_path: Path) -> None:
    paths = write(tmp_path, np.zeros((8, 8), np.uint8))
    encoding, notes = infer(tmp_path, paths)
    assert encoding.classes == 2
    assert notes == ["no mask has any foreground"]


def test_jpeg_noise_is_split_at_half(tmp_path: Path) -> None:
    binary = blobs(2, 64) * 255
    paths = write(tmp_path, binary, suffix="jpg", quality=70)
    assert len(np.unique(read_mask(paths[0]).values)) > 2
    encoding, notes = infer(tmp_path, paths)
    assert encoding.nearest
    assert "split at half" in notes[0]
    assert_array_equal(decoded(encoding, paths[0]), binary > 127)
    levels = np.array([[0, 127, 128, 255]], np.uint8)
    assert_array_equal(decoded(encoding, write(tmp_path, levels)[0]), [[0, 0, 1, 1]])


def test_soft_edges_are_split_at_half(tmp_path: Path) -> None:
    small = Image.fromarray((blobs(2, 64) * 255).astype(np.uint8))
    soft = small.resize((230, 230), Image.Resampling.BICUBIC)
    encoding, _ = infer(tmp_path, write(tmp_path, soft))
    assert (encoding.classes, encoding.nearest) == (2, True)


def test_a_third_level_under_jpeg_is_not_swallowed(tmp_path: Path) -> None:
    """A small class between the two levels must not be thresholded away."""
    three = np.array([0, 128, 255], np.uint8)[blobs(3, 64)]
    with pytest.raises(UserError, match=r"0\.jpg: masks kept as JPEG hold .* PNG"):
        infer(tmp_path, write(tmp_path, three, suffix="jpg", quality=85))
    (tmp_path / "classes.txt").write_text("background: 0\nedge: 128\ncore: 255\n")
    encoding, _ = infer(tmp_path, [tmp_path / "0.jpg"])
    wrong = decoded(encoding, tmp_path / "0.jpg") != blobs(3, 64)
    assert wrong.mean() < 0.02


def test_pictures_and_instances_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="instances or intensities"):
        infer(tmp_path, write(tmp_path, RNG.integers(0, 200, (32, 32), np.uint8)))
    with pytest.raises(UserError, match="overlays"):
        infer(tmp_path, write(tmp_path, RNG.integers(0, 200, (32, 32, 3), np.uint8)))
    with pytest.raises(UserError, match="JPEG"):
        infer(tmp_path, write(tmp_path, RNG.integers(0, 200, (32, 32, 3), np.uint8), suffix="jpg"))
    with pytest.raises(UserError, match=r"0\.tif: [0-9]+ values: a picture"):
        infer(tmp_path, write(tmp_path, RNG.integers(0, 60000, (99, 99)).astype(np.uint16), suffix="tif"))


COLOURS = np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]], np.uint8)


def test_colours_are_classes_with_black_first(tmp_path: Path) -> None:
    labels = blobs(3)
    paths = write(tmp_path, COLOURS[labels], np.zeros((9, 9), np.uint8))
    encoding, notes = infer(tmp_path, paths)
    assert_array_equal(decoded(encoding, paths[0]), labels)
    assert_array_equal(decoded(encoding, paths[1]), 0)  # an empty mask has no colour
    assert notes == ["colour-coded masks: #000000 = 0, #0000ff = 1, #ff0000 = 2"]


def indexed(labels: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels.astype(np.uint8)).convert("P")
    image.putpalette(colours.tobytes())
    return image


def test_indexed_masks_mean_their_index(tmp_path: Path) -> None:
    labels = blobs(3)
    swapped = COLOURS[[0, 2, 1]]
    paths = write(tmp_path, indexed(labels, swapped), indexed(labels, swapped))
    encoding, _ = infer(tmp_path, paths)
    assert not encoding.coloured
    assert_array_equal(decoded(encoding, paths[1]), labels)


def test_palettes_that_disagree_mean_their_colours(tmp_path: Path) -> None:
    """As left by programs that shrink each PNG by a palette of its own."""
    labels = blobs(3)
    paths = write(tmp_path, indexed(labels, COLOURS), indexed((labels + 1) % 3, COLOURS[[2, 0, 1]]))
    encoding, _ = infer(tmp_path, paths)
    assert encoding.coloured
    assert_array_equal(decoded(encoding, paths[0]), labels)
    assert_array_equal(decoded(encoding, paths[1]), labels)


def test_an_unknown_value_names_file_values_and_cure(tmp_path: Path) -> None:
    paths = write(tmp_path, blobs(2) * 255)
    encoding, _ = infer(tmp_path, paths)
    strange = blobs(2) * 7
    (odd,) = write(tmp_path, strange)
    with pytest.raises(UserError, match=r"0\.png: unknown mask values 7; known are 0, 255: .*classes\.txt"):
        decoded(encoding, odd)
    (colour,) = write(tmp_path, COLOURS[blobs(3)])
    with pytest.raises(UserError, match=r"0\.png: a colour mask"):
        decoded(encoding, colour)


def test_unknown_colours_are_written_as_colours(tmp_path: Path) -> None:
    encoding = Encoding(2, {0: 0, 0xFF0000: 1}, coloured=True)
    (path,) = write(tmp_path, COLOURS[blobs(3)])
    with pytest.raises(UserError, match="#0000ff; known are #000000, #ff0000"):
        decoded(encoding, path)


def test_counts_need_no_second_look(tmp_path: Path) -> None:
    labels = blobs(3)
    for array in (labels, COLOURS[labels]):
        (path,) = write(tmp_path, array)
        fact = mask_facts(path)
        encoding, _ = infer_encoding([fact])
        assert_array_equal(encoding.class_counts(fact), np.bincount(labels.ravel()))


def test_an_unreadable_mask_is_a_fact_not_an_exception(tmp_path: Path) -> None:
    (path,) = write(tmp_path, blobs(2))
    (tmp_path / "bad.png").write_bytes(path.read_bytes()[:50])
    facts = [mask_facts(tmp_path / "bad.png"), mask_facts(path)]
    assert "bad.png" in (facts[0].error or "")
    assert infer_encoding(facts)[0].classes == 2
    with pytest.raises(UserError, match=r"bad\.png"):
        infer_encoding(facts[:1])


# ---- classes.txt ----


def test_names_alone_keep_a_class_that_never_occurs(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\ufeffbackground\nliver\n\n# a remark\nleft kidney\n", encoding="utf-8")
    encoding, _ = infer(tmp_path, write(tmp_path, blobs(2) * 2))
    assert encoding.classes == 3
    declared = read_classes(tmp_path)
    assert declared is not None
    assert declared.names == ("background", "liver", "left kidney")


def test_values_decide_the_order(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background: #000000\nvein: #ff0000\nartery: #0000ff\n")
    paths = write(tmp_path, COLOURS[blobs(3)])
    encoding, _ = infer(tmp_path, paths)
    assert_array_equal(decoded(encoding, paths[0]), np.array([0, 2, 1])[blobs(3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background\nbackground\n", "differ"),
        ("background: 0\nliver\n", "every class a value"),
        ("background: 0\nliver: #ff0000\n", "every class a value"),
        ("background: none\n", "line 1: 'none' is no value"),
        ("\n", "must be there"),
        ("\n".join(map(str, range(300))), "300 classes"),
        ("a\nb\nc\nd\n", "4 classes are named, but the masks hold 2"),
    ],
)
def test_a_wrong_classes_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        infer(tmp_path, write(tmp_path, blobs(2) * 255))
    assert "classes.txt" in str(caught.value)


def test_a_mask_with_a_value_that_no_class_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background\nliver\n")
    stray = blobs(2).copy()
    stray[0, 0] = 7
    paths = write(tmp_path, blobs(2), blobs(2), stray)
    with pytest.raises(UserError, match=r"holds the value 7; .*classes\.txt 2 classes are named") as caught:
        infer(tmp_path, paths)
    assert str(caught.value).startswith(f"{paths[2]}: ")


def test_it_survives_json(tmp_path: Path) -> None:
    for encoding in (Encoding(2, {0: 0, 255: 1}, nearest=True), Encoding(2, {0: 0, 0xFF00FF: 1}, coloured=True)):
        assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding
    with pytest.raises(UserError, match="damaged"):
        Encoding.from_json({"mapping": []})
