"""Folders as people and publishers keep them are recognised, and what is left out is told."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from glocal.data import Dataset, Encoding, open_dataset
from glocal.errors import UserError

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


def put(root: Path, *names: str, value: int = 0, size: tuple[int, int] = (6, 8)) -> None:
    """Small files; ``value`` fills the left half, which makes a mask of it."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros(size, np.uint8)
        pixels[:, : size[1] // 2] = value
        Image.fromarray(pixels).save(path)


def masks(root: Path, *names: str, **options: int) -> None:
    put(root, *names, value=255, **options)  # type: ignore[arg-type]


def ids(dataset: Dataset) -> list[str]:
    return [case.id for case in dataset.cases]


def kinds(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, problem.path.name) for problem in dataset.problems]


# ---- folders of images and of masks ----


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "masks/a.png"),
        ("imgs/a.png", "labels/a.png"),
        ("Original/a.tif", "Ground Truth/a.tif"),
        ("JPEGImages/a.JPG", "SegmentationClass/a.PNG"),
        ("images/a.png", "masks/a_mask.png"),
        ("images/a.png", "masks/a_segmentation.png"),
        ("images/a.png", "masks/a_lesion.bmp"),
        ("images/a.png", "annotations/a_Annotation.png"),
        ("images/a.png", "gt/a-gt.png"),
        ("images/img_a.png", "masks/mask_a.png"),
        ("ISIC2018_Task1-2_Training_Input/a.jpg", "ISIC2018_Task1_Training_GroundTruth/a_segmentation.png"),
        ("ISBI2016_ISIC_Part1_Training_Data/a.jpg", "ISBI2016_ISIC_Part1_Training_GroundTruth/a_Segmentation.png"),
        ("archive/Kvasir-SEG/images/a.jpg", "archive/Kvasir-SEG/masks/a.jpg"),
        ("images/patient 1/a.png", "masks/patient 1/a.png"),
        ("a/images/x/a.png", "a/masks/x/a.png"),
        ("photos/a.png", "masks/a.png"),
        ("photos/x/a.png", "masks/x/a.png"),
        ("a.png", "masks/a.png"),
    ],
)
def test_an_image_finds_its_mask(tmp_path: Path, image: str, mask: str) -> None:
    put(tmp_path, image)
    masks(tmp_path, mask)
    dataset = open_dataset(tmp_path)
    (case,) = dataset.cases
    assert (dataset.task, case.image, case.masks) == ("segmentation", tmp_path / image, (tmp_path / mask,))
    assert dataset.problems == ()
    assert dataset.read_label(case).sum() == 24
    assert " + " in dataset.layout


def test_nothing_is_lost_silently(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png", "images/.hidden.png", "logo.png")
    masks(tmp_path, "masks/a.png", "masks/c.png")
    (tmp_path / "images/Thumbs.db").write_bytes(b"x")
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "old.zip").write_bytes(b"x")
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a"]
    assert kinds(dataset) == [("image without mask", "b.png"), ("mask without image", "c.png")]
    notes = "\n".join(dataset.layout_notes)
    for word in ("2 hidden", "README.md", "old.zip", ".nii.gz", "logo.png"):
        assert word in notes


def test_cases_come_in_natural_order_whatever_the_file_system_says(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        put(tmp_path, f"images/x{number}.png")
        masks(tmp_path, f"masks/x{number}.png")
    assert ids(open_dataset(tmp_path)) == ["x1", "x2", "x10"]


def test_several_masks_are_united_or_kept(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png")
    masks(tmp_path, "masks/a_mask.png", "masks/b.png")
    right = np.zeros((6, 8), np.uint8)
    right[:, 6:] = 255
    Image.fromarray(right).save(tmp_path / "masks/a_mask_1.png")
    united = open_dataset(tmp_path)
    assert ids(united) == ["a", "b"]
    assert_array_equal(united.read_label(united.case("a"))[0], [1, 1, 1, 1, 0, 0, 1, 1])
    assert any("united" in note for note in united.notes)
    kept = open_dataset(tmp_path, masks="keep")
    assert ids(kept) == ["a#1", "a#2", "b"]
    assert kept.case("a#1").group == kept.case("a#2").group != kept.case("b").group
    assert_array_equal(kept.read_label(kept.case("a#2")), right // 255)


def test_one_folder_an_image_with_masks_named_at_will(tmp_path: Path) -> None:
    """As the 2018 Data Science Bowl came."""
    for name in ("f00d", "beef"):
        put(tmp_path, f"stage1_train/{name}/images/{name}.png")
        masks(tmp_path, f"stage1_train/{name}/masks/1a2b.png", f"stage1_train/{name}/masks/3c4d.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["beef", "f00d"]
    assert all(len(case.masks) == 2 for case in dataset.cases)
    assert dataset.problems == ()


def test_no_common_name_shows_an_example(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png")
    masks(tmp_path, "masks/x.png", "masks/y.png")
    with pytest.raises(UserError, match=r"images.a\.png: .* first mask is masks/x\.png"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_the_same_stem_twice_is_ambiguous(tmp_path: Path, folder: str) -> None:
    put(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a.png")
    put(tmp_path, f"{folder}/a.bmp")
    with pytest.raises(UserError, match=r"same stem \(a\.bmp\)"):
        open_dataset(tmp_path)


def test_two_folders_of_masks_are_ambiguous(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a.png", "labels/a.png")
    with pytest.raises(UserError, match="labels and masks both hold masks"):
        open_dataset(tmp_path)


# ---- side by side ----


def test_busi_as_published(tmp_path: Path) -> None:
    base = "Dataset_BUSI_with_GT"
    put(tmp_path, f"{base}/benign/benign (1).png", f"{base}/benign/benign (2).png", f"{base}/normal/normal (1).png")
    put(tmp_path, f"{base}/malignant/malignant (1).png", f"{base}/normal/normal (1)_mask.png")
    masks(tmp_path, f"{base}/benign/benign (1)_mask.png", f"{base}/benign/benign (1)_mask_1.png")
    masks(tmp_path, f"{base}/benign/benign (2)_mask.png", f"{base}/malignant/malignant (1)_mask.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["benign (1)", "benign (2)", "malignant (1)", "normal (1)"]
    assert [case.stratum for case in dataset.cases] == ["benign", "benign", "malignant", "normal"]
    assert [len(case.masks) for case in dataset.cases] == [2, 1, 1, 1]
    assert dataset.classes == ("background", "lesion")
    assert dataset.problems == ()
    assert open_dataset(tmp_path / base).classes == ("background", "lesion")
    classified = open_dataset(tmp_path, task="classification")
    assert classified.classes == ("benign", "malignant", "normal")
    assert [case.label for case in classified.cases] == [0, 0, 1, 2]


def test_lgg_folders_are_patients(tmp_path: Path) -> None:
    for visit in ("TCGA_CS_4941_19960909", "TCGA_CS_4941_19970101", "TCGA_DU_5849_19950405"):
        put(tmp_path, f"kaggle_3m/{visit}/{visit}_1.tif")
        masks(tmp_path, f"kaggle_3m/{visit}/{visit}_1_mask.tif")
    (tmp_path / "kaggle_3m/data.csv").write_text("Patient,RNASeqCluster\n")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 3
    assert {case.group for case in dataset.cases} == {"patient TCGA_CS_4941", "patient TCGA_DU_5849"}
    assert dataset.classes == ("background", "tumour")
    assert dataset.problems == ()


def test_side_by_side_tells_what_has_no_partner(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    masks(tmp_path, "a_mask.png", "c_mask.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a"]
    assert kinds(dataset) == [("image without mask", "b.png"), ("mask without image", "c_mask.png")]


def test_image_names_that_end_like_masks(tmp_path: Path) -> None:
    put(tmp_path, "skin_lesion_1.png", "skin_lesion_2.png")
    masks(tmp_path, "skin_lesion_1_mask.png", "skin_lesion_2_mask.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["skin_lesion_1", "skin_lesion_2"]
    assert dataset.problems == ()


def test_class_folders_beside_one_folder_of_masks(tmp_path: Path) -> None:
    put(tmp_path, "benign/1.png", "malignant/2.png")
    masks(tmp_path, "masks/1.png", "masks/2.png")
    assert [case.stratum for case in open_dataset(tmp_path).cases] == ["benign", "malignant"]


def test_a_second_observer_is_left_out_unless_kept(tmp_path: Path) -> None:
    """As CHASE_DB1 came."""
    put(tmp_path, "Image_01L.jpg", "Image_01R.jpg")
    for eye in ("L", "R"):
        masks(tmp_path, f"Image_01{eye}_1stHO.png", f"Image_01{eye}_2ndHO.png")
    dataset = open_dataset(tmp_path)
    assert [case.masks[0].name for case in dataset.cases] == ["Image_01L_1stHO.png", "Image_01R_1stHO.png"]
    assert any("second observer" in note for note in dataset.layout_notes)
    assert len({case.group for case in dataset.cases}) == 1  # both eyes of a child
    assert len(open_dataset(tmp_path, masks="keep")) == 4


# ---- DRIVE, ready-made splits ----


def test_drive_as_published(tmp_path: Path) -> None:
    for part, number in (("training", 21), ("test", 1)):
        put(tmp_path, f"DRIVE/{part}/images/{number:02}_{part}.tif")
        masks(
            tmp_path,
            f"DRIVE/{part}/1st_manual/{number:02}_manual1.gif",
            f"DRIVE/{part}/mask/{number:02}_{part}_mask.gif",
        )
    masks(tmp_path, "DRIVE/test/2nd_manual/01_manual2.gif")
    dataset = open_dataset(tmp_path)
    assert [(case.id, case.split) for case in dataset.cases] == [("01_test", "test"), ("21_training", "train")]
    assert [case.masks[0].name for case in dataset.cases] == ["01_manual1.gif", "21_manual1.gif"]
    assert dataset.classes == ("background", "vessel")
    notes = "\n".join(dataset.notes)
    assert "field" in notes
    assert "2nd_manual" in notes
    assert dataset.problems == ()


@pytest.mark.parametrize("pattern", ["{part}/{role}/x{n}.png", "{role}/{part}/x{n}.png", "{role}_{part}/x{n}.png"])
def test_ready_made_splits_above_and_below(tmp_path: Path, pattern: str) -> None:
    for n, part in enumerate(("train", "val", "test")):
        put(tmp_path, pattern.format(part=part, role="images", n=n))
        masks(tmp_path, pattern.format(part=part, role="masks", n=n))
    assert [case.split for case in open_dataset(tmp_path).cases] == ["train", "val", "test"]


def test_stems_that_repeat_between_parts_get_their_folder(tmp_path: Path) -> None:
    for part in ("train", "test"):
        put(tmp_path, f"{part}/images/1.png")
        masks(tmp_path, f"{part}/masks/1.png")
    assert ids(open_dataset(tmp_path)) == ["test/1", "train/1"]


# ---- classification ----


def test_one_folder_per_class(tmp_path: Path) -> None:
    put(tmp_path, "covid/1.png", "covid/2.png", "healthy/1.png", "healthy/deep/3.png", "stray.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.task, dataset.layout) == ("classification", "one folder per class")
    assert dataset.classes == ("covid", "healthy")
    assert dataset.encoding is None
    assert [(case.id, case.label) for case in dataset.cases] == [
        ("covid/1", 0),
        ("covid/2", 0),
        ("healthy/1", 1),
        ("healthy/deep/3", 1),
    ]
    assert any("stray.png" in note for note in dataset.notes)
    with pytest.raises(ValueError, match=r"case\.label"):
        dataset.read_label(dataset.cases[0])


def test_classes_below_ready_made_splits(tmp_path: Path) -> None:
    put(tmp_path, "data/train/a/1.png", "data/train/b/2.png", "data/Test set/a/3.png", "data/Test set/b/4.png")
    dataset = open_dataset(tmp_path)
    assert [(case.split, case.label) for case in dataset.cases] == [
        ("train", 0),
        ("train", 1),
        ("test", 0),
        ("test", 1),
    ]


def test_class_names_that_sound_like_masks(tmp_path: Path) -> None:
    put(tmp_path, "with_mask/1.png", "without_mask/2.png")
    assert open_dataset(tmp_path).classes == ("with_mask", "without_mask")


def test_a_class_folder_named_like_masks_can_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "target/1.png", "other/2.png")
    refused(tmp_path, "no image has a mask")
    assert open_dataset(tmp_path, task="classification").classes == ("other", "target")


def test_classes_txt_orders_classes_and_misses_none(tmp_path: Path) -> None:
    put(tmp_path, "malignant/1.png", "benign/2.png")
    (tmp_path / "classes.txt").write_text("malignant\nbenign\nnormal\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("malignant", "benign", "normal")
    assert [case.label for case in dataset.cases] == [0, 1]
    assert kinds(dataset) == [("class without images", "normal")]
    (tmp_path / "classes.txt").write_text("malignent\nbenign\n")
    with pytest.raises(UserError, match=r"'malignant' of the images is not named.*Did you mean 'malignent'"):
        open_dataset(tmp_path)


# ---- cases.csv ----


def test_cases_csv_gives_group_split_class_and_spacing(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, f"images/{name}.png")
        masks(tmp_path, f"masks/{name}.png")
    (tmp_path / "cases.csv").write_text(
        "\ufeffID;Patient;Split;Diagnosis;pixel_size_mm\na;7;train;benign;0.5\nb.png;7;Training;benign;\nz;9;test;x;1\n",
        encoding="utf-8",
    )
    dataset = open_dataset(tmp_path)
    a, b, c = dataset.cases
    assert (a.group, a.split, a.stratum, a.spacing) == ("patient 7", "train", "benign", (0.5, 0.5))
    assert (b.group, b.split, b.spacing) == ("patient 7", "train", None)
    assert (c.group, c.split) == ("c", None)
    assert kinds(dataset) == [("case not in cases.csv", "c.png")]
    notes = "\n".join(dataset.layout_notes)
    assert "group from column 'patient'" in notes
    assert "1 row of cases.csv without" in notes


def test_cases_csv_beside_the_folders_of_an_unpacked_archive(tmp_path: Path) -> None:
    put(tmp_path, "v1/set/images/a.png")
    masks(tmp_path, "v1/set/masks/a.png")
    (tmp_path / "v1/set/cases.csv").write_text("id,group\na,7\n")
    (tmp_path / "v1/set/classes.txt").write_text("nothing\nsomething\n")
    dataset = open_dataset(tmp_path)
    assert dataset.cases[0].group == "group 7"
    assert dataset.classes == ("nothing", "something")


def test_classes_from_cases_csv_alone(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "cases.csv").write_text("file,label\n1.png,ill\n2.png,well\n")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("ill", "well")
    assert ids(dataset) == ["1", "2"]
    assert ("image without class", "3.png") in kinds(dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour,shape\n1,2\n", "no column names the cases"),
        ("", "empty"),
        ("id,split\na,trian\n", "line 2: split 'trian'"),
        ("id,pixel_size_mm\na,-1\n", "line 2: pixel_size_mm '-1'"),
        ("id,pixel_size_mm\na,nan\n", "'nan' is no positive number"),
        ("id,group\na,1,2\n", "line 2: 3 values under 2 columns"),
        ('id,group\n"a,1\nb,2\n', "unexpected end of data"),
        ("id,group\na,1\na,2\n", "lines 2 and 3 say different things"),
        ('id,group\n"a' + "x" * 200_000 + '",1\n', "CSV"),
    ],
)
def test_a_wrong_cases_csv_is_explained(tmp_path: Path, text: str, message: str) -> None:
    put(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a.png")
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        open_dataset(tmp_path)
    assert "cases.csv" in str(caught.value)


# ---- masks against images ----


def test_a_mask_of_another_size_names_both_and_the_cure(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png", size=(6, 8))
    masks(tmp_path, "masks/a.png", size=(3, 4))  # type: ignore[arg-type]
    masks(tmp_path, "masks/b.png", size=(8, 6))  # type: ignore[arg-type]
    dataset = open_dataset(tmp_path)
    with pytest.raises(UserError, match=r"a\.png: the mask is 4x3 pixels, its image a\.png 8x6; export"):
        dataset.read_label(dataset.case("a"))
    with pytest.raises(UserError, match="lying on its side"):
        dataset.read_label(dataset.case("b"))


def test_a_stored_encoding_meets_unknown_values(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png")
    put(tmp_path, "masks/a.png", value=9)
    dataset = open_dataset(tmp_path, encoding=Encoding(2, {0: 0, 255: 1}))
    with pytest.raises(UserError, match="unknown mask values 9"):
        dataset.read_label(dataset.cases[0])


def test_masks_are_read_once_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(tmp_path, f"images/{name}.png")
        masks(tmp_path, f"masks/{name}.png")
    dataset = open_dataset(tmp_path)
    seen: list[tuple[int, int]] = []
    dataset.scan(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr("glocal.data.cases.mask_facts", lambda path: pytest.fail("decoded again"))
    assert dataset.classes == ("background", "foreground")
    assert dataset.foreground(dataset.cases[0]) == 0.5


def test_a_broken_mask_stops_only_its_own_case(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path, f"images/{name}.png")
        masks(tmp_path, f"masks/{name}.png")
    (tmp_path / "masks/a.png").write_bytes(b"not an image")
    dataset = open_dataset(tmp_path)
    assert dataset.read_label(dataset.case("b")).any()
    with pytest.raises(UserError, match=r"masks.a\.png"):
        dataset.read_label(dataset.case("a"))


# ---- folders that are no data set ----


def refused(root: Path, match: str, **options: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        open_dataset(root, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_what_is_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "no such folder")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "this is a file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(tmp_path / "link", "link points to nothing")


def test_what_holds_no_images(tmp_path: Path) -> None:
    refused(tmp_path, "no images")
    (tmp_path / "data.tar.gz").write_bytes(b"x")
    refused(tmp_path, "unpack it first")
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    (tmp_path / "b.mha").write_bytes(b"x")
    refused(tmp_path, r"volumes or arrays \(1 \.mha, 1 \.nii\.gz\)")


def test_what_has_neither_masks_nor_classes(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png")
    refused(tmp_path, "no masks and fewer than two folders")
    masks(tmp_path, "masks/a.png")
    refused(tmp_path / "images", "did you mean the folder above")
    refused(tmp_path, "class of the images is not known|fewer than two", task="classification")


def test_a_task_that_cannot_be(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/2.png")
    refused(tmp_path, "no masks were found", task="segmentation")
    refused(tmp_path, "Did you mean 'segmentation'", task="segmantation")
    refused(tmp_path, "unite", masks="merge")


def test_links_are_followed_once(tmp_path: Path) -> None:
    real, root = tmp_path / "real", tmp_path / "root"
    put(real, "images/a.png")
    masks(real, "masks/a.png")
    root.mkdir()
    (root / "images").symlink_to(real / "images")
    (root / "masks").symlink_to(real / "masks")
    (real / "images/loop").symlink_to(root)
    dataset = open_dataset(root)
    assert ids(dataset) == ["a"]
    assert any("loop" in note for note in dataset.layout_notes)


def test_hostile_entries_stay_cases_and_say_so_when_read(tmp_path: Path) -> None:
    for name in ("pipe", "folder", "dangling"):
        masks(tmp_path, f"masks/{name}.png")
    (tmp_path / "images/folder.png").mkdir(parents=True)
    os.mkfifo(tmp_path / "images/pipe.png")
    (tmp_path / "images/dangling.png").symlink_to("nowhere")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["dangling", "folder", "pipe"]
    for case in dataset.cases:
        with pytest.raises(UserError, match=case.id):
            dataset.read_image(case)
        with pytest.raises(UserError, match=case.id):
            dataset.read_label(case)
    with pytest.raises(UserError, match=r"dangling\.png"):
        _ = dataset.fingerprint


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png")
    (tmp_path / "images").chmod(0)
    try:
        refused(tmp_path, "cannot be listed")
    finally:
        (tmp_path / "images").chmod(0o755)


def test_names_that_are_no_utf8_get_an_id_that_can_be_written(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a.png")
    try:
        for folder in ("images", "masks"):
            os.rename(tmp_path / folder / "a.png", os.fsencode(tmp_path / folder) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    dataset = open_dataset(tmp_path)
    (case,) = dataset.cases
    assert case.id.encode() == rb"caf\udce9"
    assert dataset.read_label(case).shape == dataset.read_image(case).size
    assert len(dataset.fingerprint) == 16


def test_it_can_be_sent_to_another_process(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png")
    masks(tmp_path, "masks/a.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.case("a"), len(dataset.classes)) == (dataset.cases[0], 2)
    assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_an_unknown_case_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "images/benign 1.png")
    masks(tmp_path, "masks/benign 1.png")
    with pytest.raises(UserError, match="Did you mean 'benign 1'"):
        open_dataset(tmp_path).case("bening 1")


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    put(here, "images/a.png")
    masks(here, "masks/a.png")
    shutil.copytree(here, there, copy_function=shutil.copyfile)
    os.utime(there / "images/a.png", (1, 1))
    first = open_dataset(here).fingerprint
    assert first == open_dataset(there).fingerprint
    put(there, "masks/a.png", value=254)
    assert first != open_dataset(there).fingerprint


# ---- real data sets ----

REAL = {
    "acdc": (130, 6, 4),
    "busi": (662, None, 2),
    "chase_db1": (28, 14, 2),
    "cvc_clinicdb": (58, 29, 2),
    "dsb2018_nuclei": (40, 40, 2),
    "glas": (40, 40, 2),
    "hc18_fetal_head": (40, None, 2),
    "isbi2012_membrane": (10, 10, 2),
    "isic_skin": (69, 69, 2),
    "kvasir_seg": (850, 843, 2),
    "psfhs": (1145, None, 3),
    "shenzhen_cxr": (40, 40, 2),
}


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real data set {name} is not here (set GLOCAL_SHARED to the folder that holds data/{name})")
    return SHARED / name


@pytest.mark.parametrize("name", REAL)
def test_real_segmentation_sets(name: str) -> None:
    number, groups, classes = REAL[name]
    dataset = open_dataset(real(name))
    assert (dataset.task, len(dataset), len(dataset.classes)) == ("segmentation", number, classes)
    assert dataset.problems == ()
    if groups is not None:
        assert len({case.group for case in dataset.cases}) == groups
    for case in dataset.cases[:: max(1, number // 5)]:
        label = dataset.read_label(case)
        assert label.shape == dataset.read_image(case).size
        assert label.max() < classes


def test_real_busi_groups_and_classes() -> None:
    dataset = open_dataset(real("busi"))
    sizes = {group: sum(case.group == group for case in dataset.cases) for group in {c.group for c in dataset.cases}}
    assert sum(size for size in sizes.values() if size > 1) == 294  # as the README says
    classified = open_dataset(real("busi"), task="classification")
    assert classified.classes == ("benign", "malignant", "normal")
    assert np.bincount([case.label or 0 for case in classified.cases]).tolist() == [371, 178, 113]
    normal = [case for case in dataset.cases if case.stratum == "normal"]
    assert dataset.foreground(normal[0]) == 0


def test_real_classification_set_with_its_published_split() -> None:
    dataset = open_dataset(real("covid_ct"))
    assert dataset.classes == ("CT_COVID", "CT_NonCOVID")
    assert np.bincount([case.label or 0 for case in dataset.cases]).tolist() == [349, 397]
    counts = {part: sum(case.split == part for case in dataset.cases) for part in ("train", "val", "test")}
    assert counts == {"train": 425, "val": 118, "test": 203}


def test_real_pixel_sizes() -> None:
    case = open_dataset(real("hc18_fetal_head")).case("032_HC")
    assert case.spacing == (0.445838, 0.445838)


def test_volumes_without_masks_are_named_as_such() -> None:
    refused(real("dicom"), "no masks")


def test_what_does_not_pair_is_told_as_it_is(tmp_path: Path) -> None:
    for name in ("a/images/x.dcm", "a/masks/x.nii.gz", "b/images/x.npz", "b/masks/x.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    refused(tmp_path / "a", "which do not pair")
    refused(tmp_path / "b", r"arrays \(.npz\) are not read")
