"""The data doctor finds every planted problem, and none in a healthy set."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glocal.data import open_dataset
from glocal.data.contact_sheet import CLASS_COLOURS, overlay, write_contact_sheet
from glocal.data.inspect import Finding, Inspection, inspect_dataset
from glocal.data.phantom import write_phantoms
from glocal.data.readers import Picture
from glocal.data.splits import make_splits
from glocal.errors import UserError


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("healthy") / "set", 48, seed=1, size=64)


@pytest.fixture
def folder(phantoms, tmp_path) -> Path:
    """A healthy data set to plant problems in."""
    return Path(shutil.copytree(phantoms, tmp_path / "set"))


def image(folder: Path, index: int) -> Path:
    return folder / "images" / f"phantom_{index:05d}.png"


def mask(folder: Path, index: int) -> Path:
    return folder / "masks" / f"phantom_{index:05d}.png"


def only(inspection: Inspection, kind: str) -> Finding:
    """The one finding of this kind."""
    (finding,) = [finding for finding in inspection.findings if finding.kind == kind]
    return finding


def test_healthy_set_is_clean(folder):
    inspection = inspect_dataset(folder)
    assert inspection.findings == ()
    assert (inspection.cases, inspection.usable, inspection.masks, inspection.groups) == (48, 48, 48, 12)
    assert inspection.sizes == {(64, 64): 48}
    assert inspection.kinds == {"grey, 8-bit": 48}
    masks = np.stack([np.asarray(Image.open(mask(folder, index))) for index in range(48)])
    assert [count.pixels for count in inspection.classes] == np.bincount(masks.ravel()).tolist()
    assert [count.name for count in inspection.classes] == ["background", "pubic symphysis", "fetal head"]
    assert [count.cases for count in inspection.classes] == [48, 48, 48]
    assert sum(count.share for count in inspection.classes) == pytest.approx(1)
    images = np.stack([np.asarray(Image.open(image(folder, index))) for index in range(48)]) / 255
    assert inspection.intensity == pytest.approx((images.min(), images.mean(), images.max()))


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_unreadable_image(folder, content):
    path = image(folder, 7)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    inspection = inspect_dataset(folder)
    finding = only(inspection, "unreadable image")
    assert finding.severity == "error"
    assert finding.files == ("images/phantom_00007.png",)
    assert finding.cure
    assert (inspection.cases, inspection.usable) == (48, 47)


def test_unreadable_mask(folder):
    mask(folder, 3).write_bytes(mask(folder, 3).read_bytes()[:60])
    inspection = inspect_dataset(folder)
    assert only(inspection, "unreadable mask").files == ("masks/phantom_00003.png",)
    assert inspection.usable == 47


def test_size_mismatch(folder):
    Image.fromarray(np.zeros((64, 60), np.uint8)).save(mask(folder, 3))
    finding = only(inspect_dataset(folder), "size mismatch")
    assert finding.severity == "error"
    assert finding.files == ("masks/phantom_00003.png",)
    assert "60x64" in finding.message


def test_unknown_value(folder):
    """Classes are declared (classes.txt), so that value 9 cannot be a class of its own."""
    (folder / "classes.txt").write_text("background: 0\nsymphysis: 1\nhead: 2\n")
    pixels = np.asarray(Image.open(mask(folder, 3))).copy()
    pixels[0, 0] = 9
    Image.fromarray(pixels).save(mask(folder, 3))
    inspection = inspect_dataset(folder)
    finding = only(inspection, "unknown mask values")
    assert finding.files == ("masks/phantom_00003.png",)
    assert "9" in finding.message
    assert inspection.usable == 47


def test_stray_value(folder):
    """Without a declaration a value in a few pixels of one mask becomes a class; that is remarked on."""
    (folder / "classes.txt").unlink()
    pixels = np.asarray(Image.open(mask(folder, 3))).copy()
    pixels[0, :2] = 3
    Image.fromarray(pixels).save(mask(folder, 3))
    finding = only(inspect_dataset(folder), "stray mask value")
    assert finding.files == ("masks/phantom_00003.png",)
    assert "2 pixels in 1 mask" in finding.message


def test_masks_that_are_no_labels(folder):
    for index in range(48):
        shutil.copy(image(folder, index), mask(folder, index))
    inspection = inspect_dataset(folder)
    assert only(inspection, "mask values").severity == "error"
    assert inspection.usable == 0
    assert inspection.classes == ()


def test_image_without_mask_and_mask_without_image(folder):
    mask(folder, 4).unlink()
    image(folder, 9).unlink()
    inspection = inspect_dataset(folder)
    assert only(inspection, "image without mask").files == ("images/phantom_00004.png",)
    assert only(inspection, "mask without image").files == ("masks/phantom_00009.png",)
    assert inspection.cases == inspection.usable == 46


def test_duplicates_across_groups(folder):
    """Told by pixels, not by bytes: the copy is stored differently."""
    (folder / "cases.csv").unlink()  # it says that the two are of different classes
    Image.open(image(folder, 0)).save(image(folder, 20), compress_level=0)
    shutil.copy(mask(folder, 0), mask(folder, 20))
    finding = only(inspect_dataset(folder), "duplicate images")
    assert finding.severity == "warning"
    assert finding.files == ("images/phantom_00000.png", "images/phantom_00020.png")


def test_duplicates_in_one_group_are_a_note(folder):
    shutil.copy(image(folder, 0), image(folder, 1))
    shutil.copy(mask(folder, 0), mask(folder, 1))
    assert only(inspect_dataset(folder), "duplicate images").severity == "note"


def test_duplicate_with_another_mask(folder):
    shutil.copy(image(folder, 0), image(folder, 20))
    finding = only(inspect_dataset(folder), "conflicting labels")
    assert finding.files == ("images/phantom_00000.png", "images/phantom_00020.png")


def test_similar_images_in_different_groups(folder):
    """Another contrast and a scribble do not hide a copy."""
    pixels = np.asarray(Image.open(image(folder, 0))) * 0.7 + 20
    pixels[:2, :2] = 255
    Image.fromarray(pixels.astype(np.uint8)).save(image(folder, 20))
    finding = only(inspect_dataset(folder), "similar images in different groups")
    assert finding.files == ("images/phantom_00000.png", "images/phantom_00020.png")


def with_split(folder: Path, part_of: dict[int, str]) -> None:
    lines = (folder / "cases.csv").read_text().splitlines()
    rows = [f"{lines[0]},split"] + [f"{line},{part_of.get(i, 'train')}" for i, line in enumerate(lines[1:])]
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")


def test_group_and_duplicate_on_both_sides_of_a_split(folder):
    with_split(folder, dict.fromkeys(range(3), "test") | dict.fromkeys(range(40, 44), "val"))
    shutil.copy(image(folder, 2), image(folder, 40))
    shutil.copy(mask(folder, 2), mask(folder, 40))
    inspection = inspect_dataset(folder)
    finding = only(inspection, "group on both sides of a split")
    assert finding.severity == "error"
    assert "test and train" in finding.message
    assert len(finding.files) == 4
    assert only(inspection, "duplicate across a split").files == (
        "images/phantom_00002.png",
        "images/phantom_00040.png",
    )


def test_splits_file_is_checked(folder, tmp_path):
    """The one in the folder by itself, any other on request: a duplicate on both of its sides is found."""
    make_splits(open_dataset(folder)).write(folder / "splits.json")
    assert inspect_dataset(folder).findings == ()
    splits = json.loads((folder / "splits.json").read_text())
    moved = splits["splits"]["train"].pop(0)
    splits["splits"]["test"].append(moved)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(splits))
    finding = only(inspect_dataset(folder, other), "splits file")
    assert finding.severity == "error"
    assert "group" in finding.message
    train, test = splits["splits"]["train"][5], splits["splits"]["test"][0]
    shutil.copy(folder / "images" / f"{train}.png", folder / "images" / f"{test}.png")
    (folder / "splits.json").unlink()
    make_splits(open_dataset(folder)).write(folder / "splits.json")
    assert only(inspect_dataset(folder), "duplicate across a split")


def test_empty_and_full_masks(folder):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(mask(folder, 5))
    Image.fromarray(np.full((64, 64), 2, np.uint8)).save(mask(folder, 6))
    inspection = inspect_dataset(folder)
    assert only(inspection, "empty masks").files == ("images/phantom_00005.png",)
    assert only(inspection, "empty masks").severity == "note"
    assert only(inspection, "full masks").files == ("images/phantom_00006.png",)


def test_missing_class(folder):
    (folder / "classes.txt").write_text("background: 0\nsymphysis: 1\nhead: 2\nbladder: 3\n")
    inspection = inspect_dataset(folder)
    assert "bladder" in only(inspection, "missing class").message
    assert inspection.classes[3].pixels == 0


def test_odd_images(folder):
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(image(folder, 0))
    for index, shape in [(1, (16, 64)), (2, (200, 40))]:
        rng = np.random.default_rng(index)
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(image(folder, index))
        Image.fromarray(np.resize([0, 1, 2], shape).astype(np.uint8)).save(mask(folder, index))
    Image.fromarray(np.random.default_rng(9).integers(0, 255, (64, 64, 3), np.uint8)).save(image(folder, 3))
    Image.open(image(folder, 4)).convert("P").save(image(folder, 4))
    Image.fromarray(np.linspace(0, 65535, 4096, dtype=np.uint16).reshape(64, 64)).save(image(folder, 5))
    inspection = inspect_dataset(folder)
    assert only(inspection, "constant images").files == ("images/phantom_00000.png",)
    assert only(inspection, "small images").files == ("images/phantom_00001.png",)
    assert only(inspection, "elongated images").files == ("images/phantom_00002.png",)
    assert "3 different sizes" in only(inspection, "mixed sizes").message
    assert inspection.kinds["RGB, 8-bit"] == inspection.kinds["grey, 16-bit"] == 1
    assert "1 RGB, 8-bit" in only(inspection, "mixed kinds").message
    converted = [f for f in inspection.findings if f.kind == "converted in reading"]
    assert {name for finding in converted for name in finding.files} >= {"images/phantom_00004.png"}
    assert inspection.usable == 48
    assert inspection.intensity[2] == 1


def test_nan_pixels(folder):
    pixels = np.full((64, 64), 0.5, np.float32)
    pixels[3, 3] = np.nan
    image(folder, 8).unlink()
    Image.fromarray(pixels).save(folder / "images" / "phantom_00008.tif")
    assert "NaN" in only(inspect_dataset(folder), "unreadable image").message


def test_few_groups(tmp_path):
    finding = only(inspect_dataset(write_phantoms(tmp_path / "few", 4, size=32)), "few cases")
    assert "1 group with 4 usable cases" in finding.message


def test_many_problems_at_once_and_as_json(folder):
    """One bad file does not hide another; errors come first; the record is plain JSON."""
    image(folder, 0).write_bytes(b"")
    mask(folder, 0).write_text("no mask either")
    mask(folder, 1).write_text("no mask")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(mask(folder, 2))
    shutil.copy(image(folder, 10), image(folder, 30))
    os.mkfifo(folder / "images" / "pipe.png")
    (folder / "images" / "dangling.png").symlink_to("nowhere")
    inspection = inspect_dataset(folder)
    kinds = [finding.kind for finding in inspection.findings]
    assert {"unreadable image", "unreadable mask", "size mismatch", "conflicting labels"} <= set(kinds)
    unreadable = [finding.files[0] for finding in inspection.findings if finding.kind == "unreadable mask"]
    assert unreadable == ["masks/phantom_00000.png", "masks/phantom_00001.png"]
    severities = [finding.severity for finding in inspection.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    record = json.loads(json.dumps(inspection.to_json(), allow_nan=False))
    assert record["usable"] == inspection.usable == 45
    assert len(record["findings"]) == len(kinds)
    for finding in record["findings"]:
        assert finding["message"]
        assert finding["cure"]


def test_classification(phantoms, tmp_path):
    for index in range(12):
        target = tmp_path / "set" / ("a b" if index < 10 else "ü") / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image(phantoms, 4 * index), target)
    shutil.copy(image(phantoms, 0), tmp_path / "set" / "ü" / "copy.png")
    inspection = inspect_dataset(tmp_path / "set")
    assert [(count.name, count.cases, count.pixels) for count in inspection.classes] == [
        ("a b", 10, None),
        ("ü", 3, None),
    ]
    assert only(inspection, "conflicting labels").files == ("a b/0.png", "ü/copy.png")
    (tmp_path / "set" / "ü" / "copy.png").unlink()
    assert "'ü' has 2 images" in only(inspect_dataset(tmp_path / "set"), "rare class").message


def test_nothing_to_recognise(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError):
            inspect_dataset(path)


def test_progress_counts_every_file(folder):
    calls: list[tuple[int, int]] = []
    inspect_dataset(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 96) for done in range(1, 97)]


def test_overlay_outlines_the_mask_and_leaves_the_rest():
    label = np.zeros((40, 80), np.uint8)
    label[10:30, 20:40] = 2
    pixels = overlay(Picture(np.full((40, 80, 1), 100, np.uint8)), label, longest=80)
    assert pixels.shape == (40, 80, 3)
    assert (pixels[label == 0] == 100).all()
    np.testing.assert_array_equal(pixels[10, 25], CLASS_COLOURS[1])
    inside = 100 + 0.3 * (np.array(CLASS_COLOURS[1]) - 100)
    assert np.abs(pixels[20, 30] - inside).max() <= 1


def test_contact_sheet(folder, tmp_path):
    image(folder, 0).write_bytes(b"damaged")
    shown, problems = write_contact_sheet(open_dataset(folder), tmp_path / "sheet.png", 10)
    assert shown == 10
    assert len(problems) == 1
    assert "phantom_00000" in problems[0]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).reshape(-1, 3)
    for colour in CLASS_COLOURS[:2]:
        assert (sheet == colour).all(axis=1).sum() > 200
    with pytest.raises(UserError, match=r"sheet\.txt"):
        write_contact_sheet(open_dataset(folder), tmp_path / "sheet.txt")
    assert not (tmp_path / "sheet.txt").exists()


@pytest.fixture(scope="module")
def shared() -> Path:
    root = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"
    if not root.is_dir():
        pytest.skip(f"no real data: {root} does not exist (set GLOCAL_SHARED)")
    return root


def test_real_busi(shared):
    """Known: 113 normal images with empty masks; benign (433) is, pixel for pixel, malignant (145)."""
    inspection = inspect_dataset(shared / "busi")
    assert (inspection.cases, inspection.usable, inspection.classes[1].cases) == (662, 662, 549)
    assert len(only(inspection, "empty masks").files) == 113
    assert only(inspection, "conflicting labels").files == ("images/benign (433).png", "images/malignant (145).png")
    similar = only(inspection, "similar images of different classes").files
    assert {"images/benign (42).png", "images/malignant (51).png"} <= set(similar)
    assert not [f for f in inspection.findings if f.kind == "similar images in different groups"]


def test_real_classification(shared):
    inspection = inspect_dataset(shared / "covid_ct")
    assert [(count.name, count.cases) for count in inspection.classes] == [("CT_COVID", 349), ("CT_NonCOVID", 397)]
    assert inspection.usable == 746
    assert not [finding for finding in inspection.findings if finding.severity == "error"]
