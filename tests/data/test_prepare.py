"""Data sets as their makers distribute them become plain folders, with the same pixels, voxels and labels."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from glocal.data import open_dataset
from glocal.data.distributed import LAYOUTS, recognise, refuse_unprepared
from glocal.data.prepare import prepare
from glocal.data.volumes import open_volume
from glocal.errors import UserError

nibabel = pytest.importorskip("nibabel", reason="volumes need the extra 'volumes'")
import miniatures as mini  # noqa: E402  (beside this file)

CASES = {
    "nnunet": 3, "synapse": 3, "acdc": 4, "psfhs": 3, "iugc2024": 6, "jnu-ifm": 4, "hc18": 3, "medmnist": 13,
    "isic2018": 3, "lgg": 4, "busi": 6, "volumes": 3,
}  # fmt: skip
UNREADABLE = {"synapse", "acdc", "psfhs", "iugc2024", "jnu-ifm", "hc18", "medmnist"}


@pytest.fixture
def make(tmp_path):
    def _make(layout: str, **options: int) -> Path:
        root = tmp_path / f"{layout} as distributed"
        mini.MAKERS[layout](root, **options)
        return root

    return _make


def png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def voxels(path: Path) -> np.ndarray:
    """``(D, H, W)``, read with plain nibabel."""
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def classes(folder: Path) -> list[str]:
    return (folder / "classes.txt").read_text().splitlines()


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("layout", mini.MAKERS)
def test_every_layout_becomes_a_plain_folder(layout, make, tmp_path):
    root, out = make(layout), tmp_path / "plain"
    before = snapshot(root)
    found = recognise(root)
    assert (found.name, found.readable) == (layout, layout not in UNREADABLE)
    assert layout in LAYOUTS
    done = prepare(root, out)
    assert (done.cases, done.fresh, done.left_out) == (CASES[layout], CASES[layout], ())
    assert snapshot(root) == before  # what is converted is only read
    dataset = open_dataset(out)
    names = {case.volume or case.id for case in dataset.cases}
    assert len(names) == CASES[layout]
    assert not dataset.problems
    assert {path.name for path in out.iterdir()} >= {"images", "prepare-report.json", "prepare-report.md"}
    report = json.loads((out / "prepare-report.json").read_text(encoding="utf-8"))
    assert len(report["cases"]) == CASES[layout]
    assert all((out / target).is_file() for case in report["cases"] for target in case["targets"])


@pytest.mark.parametrize("layout", sorted(UNREADABLE))
def test_an_unprepared_set_names_the_command(layout, make):
    root = make(layout)
    with pytest.raises(UserError, match=r"glocal data prepare '.*as distributed.*' OUT"):
        refuse_unprepared(root)


def test_nothing_is_recognised_in_plain_pictures(tmp_path):
    mini.save(tmp_path / "images" / "a.png", mini.frame(0))
    mini.save(tmp_path / "masks" / "a.png", mini.frame(1) // 128)
    assert recognise(tmp_path) is None
    refuse_unprepared(tmp_path)


# ---- each layout: values, labels, groups, splits, names ----


def test_synapse_slices_are_stacked_with_their_values(make, tmp_path):
    out = prepare(make("synapse"), tmp_path / "out").folder
    for name, seed, part in (("case0005", 0, "train"), ("case0006", 1, "train"), ("case0001", 2, "test")):
        values, label = mini.organs(seed)
        assert_array_equal(voxels(out / "images" / f"{name}.nii.gz"), values)
        assert_array_equal(voxels(out / "masks" / f"{name}.nii.gz"), label)
        assert table(out)[name]["split"] == part
    image = nibabel.load(out / "images" / "case0005.nii.gz")
    assert image.get_data_dtype() == np.float32
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0  # the source knows no position
    assert classes(out)[:3] == ["background", "aorta", "gallbladder"]


def test_acdc_keeps_the_phases_of_a_patient_together(make, tmp_path):
    out = prepare(make("acdc"), tmp_path / "out").folder
    rows = table(out)
    assert rows["case_019_ED"]["group"] == rows["case_019_ES"]["group"] == "case_019"
    assert (rows["case_019_ED"]["split"], rows["case_002_ES"]["split"]) == ("train", "test")
    assert_array_equal(voxels(out / "images" / "case_002_ED.nii.gz"), mini.organs(2, classes=4)[0])
    assert classes(out) == ["background", "right ventricle", "myocardium", "left ventricle"]


def test_acdc_slices_in_hdf5_are_numbered_from_one(tmp_path):
    import h5py

    values, label = mini.organs(0, (11, 32, 28), classes=4)
    folder = tmp_path / "ACDC" / "ACDC_training_slices"
    folder.mkdir(parents=True)
    for k in range(11):
        with h5py.File(folder / f"patient010_frame01_slice_{k + 1}.h5", "w") as file:
            file["image"], file["label"] = values[k], label[k]
    (tmp_path / "ACDC" / "test.list").write_text("patient010_frame01\n")
    out = prepare(tmp_path / "ACDC", tmp_path / "out").folder
    assert_array_equal(voxels(out / "images" / "patient010_frame01.nii.gz"), values)  # 2 before 10
    assert table(out)["patient010_frame01"] == {"id": "patient010_frame01", "group": "patient010", "split": "test"}


def test_a_gap_between_slices_is_not_closed(make, tmp_path):
    root = make("synapse")
    (root / "train_npz" / "case0005_slice002.npz").unlink()
    done = prepare(root, tmp_path / "out")
    assert done.cases == 2
    assert any("slice 2 of case0005 is missing" in line for line in done.left_out)
    assert any("names 'case0005_slice002', which is not there" in line for line in done.left_out)


def test_psfhs_channels_are_told_from_slices(make, tmp_path):
    out = prepare(make("psfhs"), tmp_path / "out").folder
    assert_array_equal(png(out / "images" / "03744.png"), mini.frame(0))
    assert_array_equal(png(out / "masks" / "03744.png"), mini.symphysis_and_head(0))
    assert classes(out) == ["background", "pubic symphysis", "fetal head"]


@pytest.mark.parametrize("values", [(0, 7, 8), (0, 127, 255), (0, 1, 2)])
def test_iugc_labels_mean_the_same_in_every_numbering(values, make, tmp_path):
    background, symphysis, head = values
    out = prepare(make("iugc2024", background=background, symphysis=symphysis, head=head), tmp_path / "out").folder
    assert_array_equal(png(out / "masks" / "20190830T115515_00009.png"), mini.symphysis_and_head(9))
    assert_array_equal(png(out / "images" / "20190830T115515_00009.png"), mini.frame(24, channels=3))
    row = table(out)["20190909T093527_00019"]
    assert (row["group"], row["split"]) == ("video 20190909T093527", "train")


def test_one_strange_value_refuses_the_numbering_of_the_set(make, tmp_path):
    root = make("iugc2024")
    strange = root / "train" / "pos" / "20190830T115515" / "mask" / "20190830T115515_0_1.png"
    mini.save(strange, np.where(mini.symphysis_and_head() == 1, 9, 0).astype(np.uint8))
    with pytest.raises(UserError, match=rf"{strange.name}: holds the value 9"):
        prepare(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_exchanged_labels_are_noticed_by_their_area(make, tmp_path):
    with pytest.raises(UserError, match="the labels are exchanged"):
        prepare(make("iugc2024", symphysis=8, head=7), tmp_path / "out")


def test_frames_come_out_of_the_video_by_their_number(make, tmp_path):
    av = pytest.importorskip("av", reason="PyAV, which reads videos, is not installed")
    root = make("iugc2024")
    video = "20190830T115515"
    folder = root / "train" / "pos" / video
    shutil.rmtree(folder / "frames")
    with av.open(str(folder / f"{video}.avi"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)  # lossless
        stream.width = stream.height = mini.SIZE
        stream.pix_fmt = "gray"
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((mini.SIZE, mini.SIZE), 10 * number, np.uint8), format="gray")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    out = prepare(root, tmp_path / "out").folder
    for number in (0, 9, 19):
        assert int(png(out / "images" / f"{video}_{number:05d}.png")[0, 0]) == 10 * number


def test_without_frames_or_video_the_mask_is_named(make, tmp_path):
    root = make("iugc2024")
    shutil.rmtree(root / "train" / "pos" / "20190830T115515" / "frames")
    done = prepare(root, tmp_path / "out")
    assert done.cases == 3
    assert any("neither a video nor a picture of frame 9" in line for line in done.left_out)


def test_jnu_ifm_leaves_the_coloured_masks_out(make, tmp_path):
    done = prepare(make("jnu-ifm"), tmp_path / "out")
    assert_array_equal(png(done.folder / "masks" / "video2_1.png"), mini.symphysis_and_head(1))
    assert table(done.folder)["video2_1"]["group"] == "video video2"
    assert any("mask_enhance left out" in note for note in done.report["notes"])


def test_hc18_outlines_are_filled(make, tmp_path):
    out = prepare(make("hc18"), tmp_path / "out").folder
    for stem, centre in (("000_HC", (16, 15)), ("001_HC", (26, 16))):  # the second is cut by the border
        assert_array_equal(png(out / "masks" / f"{stem}.png"), mini.disc((32, 32), centre, 10))
    rows = table(out)
    assert rows["000_HC"]["group"] == rows["000_2HC"]["group"] != rows["001_HC"]["group"]
    assert float(rows["001_HC"]["pixel_size_mm"]) == 0.07
    assert_array_equal(png(out / "images" / "000_HC.png"), mini.frame(1))  # not that of the same name in test_set
    assert classes(out) == ["background", "head"]


def test_an_open_outline_is_left_out(make, tmp_path):
    root = make("hc18")
    outline = root / "training_set" / "000_HC_Annotation.png"
    pixels = png(outline).copy()
    pixels[:, :16] = 0
    mini.save(outline, pixels)
    (line,) = prepare(root, tmp_path / "out").left_out
    assert "000_HC_Annotation.png: the outline is not closed" in line


def test_isic_keeps_files_and_parts(make, tmp_path):
    root = make("isic2018")
    out = prepare(root, tmp_path / "out").folder
    source = root / "ISIC2018_Task1-2_Training_Input" / "ISIC_0000001.jpg"
    assert (out / "images" / "ISIC_0000001.jpg").read_bytes() == source.read_bytes()  # not compressed again
    assert_array_equal(png(out / "masks" / "ISIC_0000001.png"), mini.disc((32, 32), (14, 16), 6))
    assert {id: row["split"] for id, row in table(out).items()} == {
        "ISIC_0000000": "train",
        "ISIC_0000001": "train",
        "ISIC_0012255": "val",
    }


def test_lgg_is_grouped_by_patient(make, tmp_path):
    out = prepare(make("lgg"), tmp_path / "out").folder
    groups = {id: row["group"] for id, row in table(out).items()}
    assert len(set(groups.values())) == 2
    assert groups["TCGA_CS_4941_19960909_1"] == groups["TCGA_CS_4941_19960909_2"]


def test_busi_masks_are_united_and_classes_kept(make, tmp_path):
    out = prepare(make("busi"), tmp_path / "out").folder
    both = mini.disc((32, 32), (10, 10), 4) | mini.disc((32, 32), (24, 24), 3)
    assert_array_equal(png(out / "masks" / "benign (1).png"), both)
    assert table(out)["normal (2)"]["class"] == "normal"


def test_medmnist_pictures_and_classes(make, tmp_path):
    root = make("medmnist")
    out = prepare(root / "breastmnist.npz", tmp_path / "out").folder
    with np.load(root / "breastmnist.npz") as arrays:
        assert_array_equal(png(out / "images" / "val_1.png"), arrays["val_images"][1])
    dataset = open_dataset(out)
    assert dataset.classes == ("malignant", "normal or benign")
    assert (dataset.case("val_1").label, dataset.case("val_1").split) == (1, "val")


def test_medmnist_of_several_classes_a_picture(make, tmp_path):
    root = make("medmnist", name="chestmnist", labels=14)
    dataset = open_dataset(prepare(root, tmp_path / "out").folder)
    with np.load(root / "chestmnist.npz") as arrays:
        expected = np.flatnonzero(arrays["train_labels"][3])
    assert dataset.multi_label
    assert dataset.classes[:2] == ("atelectasis", "cardiomegaly")
    assert list(dataset.case("train_3").labels) == expected.tolist()


def test_medmnist_volumes_are_refused(tmp_path):
    cubes, labels = np.zeros((2, 8, 8, 8), np.uint8), np.array([[0], [1]], np.uint8)
    np.savez(tmp_path / "organmnist3d.npz", train_images=cubes, train_labels=labels)
    with pytest.raises(UserError, match="volumes of MedMNIST3D are not"):
        prepare(tmp_path / "organmnist3d.npz", tmp_path / "out")


def test_nnunet_images_are_copied_and_classes_named(make, tmp_path):
    root = make("nnunet")
    done = prepare(root, tmp_path / "out")
    source = root / "imagesTr" / "abdomen_001_0000.nii.gz"
    assert (done.folder / "images" / "abdomen_001.nii.gz").read_bytes() == source.read_bytes()
    assert_array_equal(voxels(done.folder / "masks" / "abdomen_001.nii.gz"), mini.organs(1, classes=3)[1])
    assert classes(done.folder) == ["background", "liver", "spleen"]
    assert any("1 image of imagesTs without labels" in note for note in done.report["notes"])


def test_acdc_as_its_makers_store_it(tmp_path):
    root = tmp_path / "ACDC" / "database"
    for part, patient in (("training", "patient001"), ("training", "patient002"), ("testing", "patient101")):
        folder = root / part / patient
        for number in ("01", "12"):
            values, label = mini.organs(int(number) % 3, classes=4)
            mini.nifti(folder / f"{patient}_frame{number}.nii.gz", values)
            mini.nifti(folder / f"{patient}_frame{number}_gt.nii.gz", label)
        (folder / f"{patient}_4d.nii.gz").write_bytes(b"a cine of all phases")
    done = prepare(root.parent, tmp_path / "out")
    assert (done.cases, done.left_out) == (6, ())
    rows = table(done.folder)
    assert rows["patient001_frame01"]["group"] == rows["patient001_frame12"]["group"]
    assert (rows["patient002_frame12"]["split"], rows["patient101_frame01"]["split"]) == ("train", "test")
    assert classes(done.folder) == ["background", "right ventricle", "myocardium", "left ventricle"]


def test_btcv_as_its_makers_store_it(tmp_path):
    root = tmp_path / "RawData" / "Training"
    for number in ("0001", "0002"):
        values, label = mini.organs(int(number), classes=4)
        mini.nifti(root / "img" / f"img{number}.nii.gz", values)
        mini.nifti(root / "label" / f"label{number}.nii.gz", label)
    out = prepare(root.parent, tmp_path / "out").folder
    assert_array_equal(voxels(out / "masks" / "img0002.nii.gz"), mini.organs(2, classes=4)[1])


def test_one_channel_of_several_has_to_be_chosen(tmp_path):
    root = tmp_path / "Task05_Prostate"
    mini.decathlon(root)
    assert "version 1" in recognise(root).title
    with pytest.raises(UserError, match=r"--channel: 0 \(T2\), 1 \(ADC\)"):
        prepare(root, tmp_path / "out")
    with pytest.raises(UserError, match=r"no channel 'ADD'\. Did you mean 'ADC'"):
        prepare(root, tmp_path / "out", channel="ADD")
    out = prepare(root, tmp_path / "out", channel="ADC").folder
    assert_array_equal(voxels(out / "images" / "prostate_01.nii.gz"), 1 - mini.organs(1, classes=3)[0])
    assert classes(out) == ["background", "PZ", "TZ"]


# ---- to nnU-Net ----


def test_to_nnunet_and_back(make, tmp_path):
    raw = prepare(make("synapse"), tmp_path / "raw", to="nnunet").folder
    record = json.loads((raw / "dataset.json").read_text())
    assert (
        record["numTraining"] == len(list((raw / "imagesTr").iterdir())) == len(list((raw / "labelsTr").iterdir())) == 2
    )
    assert record["file_ending"] == ".nii.gz"
    assert record["labels"]["stomach"] == 8
    assert [path.name for path in (raw / "imagesTs").iterdir()] == ["case0001_0000.nii.gz"]
    back = prepare(raw, tmp_path / "back").folder
    assert_array_equal(voxels(back / "images" / "case0006.nii.gz"), mini.organs(1)[0])
    assert_array_equal(voxels(back / "masks" / "case0006.nii.gz"), mini.organs(1)[1])
    assert table(back)["case0001"]["split"] == "test"
    assert classes(back)[-1] == "stomach"


def test_pictures_to_nnunet_have_one_number_of_channels(tmp_path):
    root, out = tmp_path / "polyps", tmp_path / "raw"
    mask = mini.disc((32, 32), (10, 10), 4).astype(np.uint8) * 255
    for stem, channels in (("grey", 1), ("colour", 3)):
        mini.save(root / "images" / f"{stem}.bmp", mini.frame(channels, channels=channels))
        mini.save(root / "masks" / f"{stem}.png", mask)
    prepare(root, out, to="nnunet")
    assert json.loads((out / "dataset.json").read_text())["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    grey = png(out / "imagesTr" / "grey_0000.png")
    assert_array_equal(grey, np.repeat(mini.frame(1)[..., None], 3, axis=2))
    assert_array_equal(png(out / "imagesTr" / "colour_0000.png"), mini.frame(3, channels=3))
    assert sorted(np.unique(png(out / "labelsTr" / "grey.png"))) == [0, 1]
    back = prepare(out, tmp_path / "back").folder
    assert_array_equal(png(back / "images" / "colour.png"), mini.frame(3, channels=3))


def test_what_png_cannot_hold_is_copied(tmp_path):
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).random((32, 32), np.float32) * 3000)
    picture.save(root / "images" / "a.tif")
    mini.save(root / "masks" / "a.png", mini.disc((32, 32), (10, 10), 4).astype(np.uint8))
    out = prepare(root, tmp_path / "out").folder
    assert (out / "images" / "a.tif").read_bytes() == (root / "images" / "a.tif").read_bytes()
    done = prepare(root, tmp_path / "raw", to="nnunet")
    assert (done.folder / "imagesTr" / "a_0000.png").is_file()
    assert any("stretched to 16 bits" in change for change in done.report["cases"][0]["changes"])


def test_a_classification_set_is_not_for_nnunet(make, tmp_path):
    with pytest.raises(UserError, match="use --to plain"):
        prepare(make("medmnist"), tmp_path / "out", to="nnunet")


# ---- interruptions, and what is in the way ----


class Killed(BaseException):
    pass


def test_an_interrupted_preparation_goes_on(make, tmp_path, monkeypatch):
    root, out = make("psfhs"), tmp_path / "out"
    monkeypatch.setattr("glocal.data.prepare._BATCH", {"pictures": 1, "volumes": 1})
    count = 0

    def progress(done: int, total: int) -> None:
        nonlocal count
        count += 1
        if count == CASES["psfhs"] + 2:  # masks are read first
            raise Killed

    with pytest.raises(Killed):
        prepare(root, out, progress=progress)
    assert not out.exists()  # appears when it is complete
    done = prepare(root, out)
    assert (done.cases, done.fresh) == (3, 1)
    assert sorted(path.name for path in out.iterdir()) == [
        *("classes.txt", "images", "masks", "prepare-report.json", "prepare-report.md")
    ]
    assert prepare(root, out).fresh == 0  # complete: nothing is done again
    assert not list(tmp_path.glob(".*"))


def test_a_journal_cut_short_and_a_changed_source_are_done_again(make, tmp_path, monkeypatch):
    root, out = make("psfhs"), tmp_path / "out"
    monkeypatch.setattr("glocal.data.prepare.threads", lambda: 1)  # cases in the journal in order
    monkeypatch.setattr("glocal.data.prepare_folder.Unfinished.finish", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        prepare(root, out)
    monkeypatch.undo()
    journal = tmp_path / ".out.unfinished" / ".journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # the last case
    mini.mha(root / "image_mha" / "03744.mha", np.stack([mini.frame(77)] * 3))
    os.utime(root / "image_mha" / "03744.mha", ns=(1, 1))
    done = prepare(root, out)
    assert done.fresh == 2
    assert_array_equal(png(out / "images" / "03744.png"), mini.frame(77))


def test_another_command_does_not_go_on(make, tmp_path, monkeypatch):
    root, out = make("psfhs"), tmp_path / "out"
    monkeypatch.setattr("glocal.data.prepare_folder.Unfinished.finish", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        prepare(root, out)
    monkeypatch.undo()
    with pytest.raises(UserError, match="left unfinished by another command"):
        prepare(root, out, mend=True)


def test_what_is_there_is_not_touched(make, tmp_path):
    root, out = make("psfhs"), tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        prepare(root, out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match="lies inside the data set"):
        prepare(root, root / "plain")
    prepared = prepare(root, tmp_path / "first").folder
    with pytest.raises(UserError, match="not empty"):
        prepare(root, prepared, mend=True)


# ---- hostile input ----


def test_broken_cases_are_named_and_the_rest_goes_on(make, tmp_path):
    root = make("synapse")
    (root / "train_npz" / "case0005_slice001.npz").write_bytes(b"PK\3\4 not really")
    h5 = root / "test_vol_h5" / "case0001.npy.h5"
    h5.write_bytes(h5.read_bytes()[:200])
    done = prepare(root, tmp_path / "out")
    assert done.cases == 1
    assert sorted(Path(line.split(": ")[0]).name for line in done.left_out) == [
        "case0001.npy.h5",
        "case0005_slice001.npz",
    ]
    assert done.report["left_out"] == list(done.left_out)


def test_pickled_objects_and_links_are_refused(make, tmp_path):
    import h5py

    root = make("synapse")
    image = np.zeros((4, 4), np.float32)
    np.savez(root / "train_npz" / "case0005_slice000.npz", image=image, label=np.array([[{}] * 4] * 4, object))
    with h5py.File(root / "test_vol_h5" / "case0001.npy.h5", "w") as file:
        file["image"] = np.zeros((2, 4, 4))
        file["label"] = h5py.ExternalLink("/etc/other.h5", "/label")
    linked, pickled = sorted(prepare(root, tmp_path / "out").left_out)
    assert "'label' is a link (to another file or place), which is not followed" in linked
    assert "pickled Python objects" in pickled


@pytest.mark.parametrize("bad", ["empty", "complex", "infinite label", "promise", "no array"])
def test_arrays_that_are_none_are_left_out(make, tmp_path, bad):
    import h5py

    root = make("synapse")
    image = np.zeros((4, 4), np.float32)
    label = np.full((4, 4), np.inf) if bad == "infinite label" else image
    image = {"empty": image[:0], "complex": image.astype(np.complex64)}.get(bad, image)
    with h5py.File(root / "test_vol_h5" / "case0001.npy.h5", "w") as file:
        if bad == "promise":  # of 32 TB, in chunks of which none is there
            file.create_dataset("image", (10**5, 9000, 9000), np.float32, chunks=(1, 9000, 9000), compression="gzip")
        elif bad != "no array":
            file["image"] = image[None]
        file["label"] = label[None]
    done = prepare(root, tmp_path / "out")
    assert done.cases == 2
    assert len(done.left_out) == 1
    assert "case0001.npy.h5" in done.left_out[0]


@pytest.mark.parametrize("to", ["plain", "nnunet"])
def test_dicom_leaves_the_patient_behind(tmp_path, to):
    pytest.importorskip("pydicom", reason="DICOM needs the extra 'dicom'")
    from dicom_makers import CANARY, CANARY_DATE, CANARY_UID, write_dicom, write_series

    (tmp_path / "frames" / "images").mkdir(parents=True)
    scaled = {"PixelSpacing": [0.5, 0.5], "RescaleSlope": 1, "RescaleIntercept": -5}
    write_dicom(tmp_path / "frames" / "images" / "x.dcm", np.arange(64, dtype=np.uint16).reshape(8, 8), **scaled)
    mini.save(tmp_path / "frames" / "masks" / "x.png", np.eye(8, dtype=np.uint8))
    write_series(tmp_path / "scans" / "images" / "y", np.arange(192).reshape(3, 8, 8))
    affine = open_volume(tmp_path / "scans" / "images" / "y").affine
    mini.nifti(tmp_path / "scans" / "masks" / "y.nii.gz", np.ones((3, 8, 8), np.uint8), affine)
    for name in ("frames", "scans"):
        out = tmp_path / f"{name}-out"
        prepare(tmp_path / name, out, to=to)
        for path in out.rglob("*"):
            held = path.read_bytes() if path.is_file() else b""
            held = gzip.decompress(held) if path.suffix == ".gz" else held
            for secret in (CANARY, CANARY_DATE, CANARY_UID):
                assert secret.encode() not in held, path
    assert "0.5" in (tmp_path / "frames-out" / "cases.csv").read_text()


def test_missing_halves_of_pairs(make, tmp_path):
    root = make("psfhs")
    (root / "label_mha" / "03744.mha").unlink()
    (root / "image_mha" / "03745.mha").unlink()
    done = prepare(root, tmp_path / "out")
    assert done.cases == 1
    assert len(done.left_out) == 2
    assert all("left out" in line for line in done.left_out)


def test_names_with_spaces_accents_and_repeated_stems(tmp_path):
    root = tmp_path / "Bilder für später"
    mask = mini.disc((32, 32), (10, 10), 4).astype(np.uint8) * 255
    for index, name in enumerate(("a/Größe 1", "b/Größe 1", "b/-dash")):
        folder, stem = name.split("/")
        mini.save(root / "images" / folder / f"{stem}.png", mini.frame(index))
        mini.save(root / "masks" / folder / f"{stem}.png", mask)
    done = prepare(root, tmp_path / "out")
    names = sorted(path.name for path in (done.folder / "images").iterdir())
    assert names == ["a_Größe 1.png", "b_-dash.png", "b_Größe 1.png"]
    assert_array_equal(png(done.folder / "images" / "b_Größe 1.png"), mini.frame(1))
    assert "renamed from a/Größe 1" in done.report["cases"][0]["changes"]


def test_names_that_differ_in_case_alone_do_not_overwrite(tmp_path):
    root = tmp_path / "set"
    for index, name in enumerate(("scan", "SCAN")):
        mini.save(root / "images" / f"{name}.png", mini.frame(index))
        mini.save(root / "masks" / f"{name}.png", mini.disc((32, 32), (9, 9), 4).astype(np.uint8))
    names = {path.name.casefold() for path in (prepare(root, tmp_path / "out").folder / "images").iterdir()}
    assert len(names) == 2


def test_nothing_usable_leaves_nothing(tmp_path):
    root = tmp_path / "set"
    mini.nifti(root / "images" / "a.nii.gz", np.zeros((3, 4, 5), np.int16))
    mini.nifti(root / "masks" / "a.nii.gz", np.zeros((3, 4, 6), np.uint8))
    with pytest.raises(UserError, match="no case can be converted"):
        prepare(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
