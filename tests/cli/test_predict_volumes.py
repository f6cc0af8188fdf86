"""``glocal predict`` of volumes and DICOM as typed, and post-processing chosen by ``glocal evaluate``."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

import glocal
from glocal.cli import main
from glocal.data.volumes import open_volume

SHARED = Path(os.environ.get("GLOCAL_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"


def on_volumes(run: Path, **changes: object) -> Path:
    """The run as if it had been trained on volumes whose values from -500 to 520 become 0 to 1."""
    path = run / "model" / "model.json"
    record = json.loads(path.read_text())
    record["preprocessing"] |= {
        "intensity": {"kind": "window", "low": -500.0, "high": 520.0},
        "orientation": "LPS",
    }
    record |= changes
    path.write_text(json.dumps(record))
    return run


@pytest.fixture
def scan(discs) -> Path:
    """A volume of five discs with axes L, A, S, so that rows are upside down; their values are 4 grey - 500."""
    planes = [np.asarray(Image.open(discs / "images" / f"disc {k:02d}.png").convert("L")) for k in range(5)]
    values = np.stack(planes).astype(np.int16) * 4 - 500
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values[:, ::-1].transpose(2, 1, 0), affine), discs.parent / "scän 1.nii.gz")
    return discs.parent / "scän 1.nii.gz"


def test_a_volume_has_the_masks_of_its_pictures(trained, discs, scan, capsys):
    on_volumes(trained)
    assert main(["predict", str(trained), str(scan), "--output", "out", "--overlay", "--probabilities"]) == 0
    shown = capsys.readouterr()
    assert "mL" in shown.out
    assert "1 mask in out" in shown.out
    assert "turned from LAS to LPS, as in training" in shown.err
    written = nibabel.load("out/scän 1.nii.gz")
    assert np.array_equal(written.affine, nibabel.load(scan).affine)
    mask = np.asarray(written.dataobj).transpose(2, 1, 0)[:, ::-1]
    predictor = glocal.load(trained, device="cpu")
    for k in range(5):
        with Image.open(discs / "images" / f"disc {k:02d}.png") as image:
            of_picture = predictor(image).mask
        assert (mask[k] != of_picture).sum() <= 4  # 8 and 16 bits
    assert mask.any()
    with open("out/volumes.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["ml"]) == pytest.approx(int(row["voxels"]) * 2 / 1000) == pytest.approx(int(mask.sum()) * 0.002)
    assert Path("out/overlays/scän 1.png").exists()
    assert np.load("out/probabilities/scän 1.npy").shape == (5, 2, 40, 40)


def test_json_is_alone_on_stdout_for_volumes_and_pictures(trained, discs, scan, capsys):
    on_volumes(trained)
    words = [str(scan), str(discs / "images" / "disc 00.png"), "--output", "out", "--json"]
    assert main(["predict", str(trained), *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [Path(one["mask"]).name for one in facts] == ["disc 00.png", "scän 1.nii.gz"]
    assert facts[1]["shape"] == [5, 40, 40]
    assert sum(facts[1]["voxels"].values()) == 8000
    assert facts[1]["millilitres"]["foreground"] == pytest.approx(facts[1]["voxels"]["foreground"] * 0.002)


def test_a_broken_volume_among_others(trained, scan, capsys):
    on_volumes(trained)
    Path("broken.nii.gz").write_bytes(scan.read_bytes()[:-300])
    assert main(["predict", str(trained), "broken.nii.gz", str(scan), "--output", "out"]) == 2
    told = capsys.readouterr().err
    assert "1 of 2 images could not be read" in told
    assert told.count("broken.nii.gz:") == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["scän 1.nii.gz", "volumes.csv"]


def test_what_is_there_can_be_skipped(trained, scan, capsys):
    on_volumes(trained)
    command = ["predict", str(trained), str(scan), "--output", "out"]
    assert main(command) == 0
    before = Path("out/volumes.csv").read_text()
    assert main(command) == 2
    assert main([*command, "--skip_existing"]) == 0
    assert "every image has its mask in out already" in capsys.readouterr().out
    assert main([*command, "--overwrite"]) == 0
    assert Path("out/volumes.csv").read_text() == before


def test_refusals(trained, scan, refused):
    assert "--window -160 240" in refused("predict", trained, scan, "--output", "out")
    assert not Path("out/scän 1.nii.gz").exists()
    assert main(["predict", str(trained), str(scan), "--output", "out", "--window", "-500", "520"]) == 0
    assert "this is none" in refused("predict", trained, scan, "--output", "out2", "--format", "seg")
    Path("nan.nii").write_bytes(b"\0" * 100)
    assert "nan.nii" in refused("predict", trained, "nan.nii", "--output", "out2")
    assert "contradict" in refused("predict", trained, scan, "--output", "o", "--overwrite", "--skip_existing")
    on_volumes(trained)
    assert "the model brings its own" in refused("predict", trained, scan, "--output", "o", "--window", "0", "1")
    assert "series" in refused("predict", trained, scan, "--output", "o", "--series", "7")
    assert "NPZ or HDF5" in refused("predict", trained, scan, "--output", "o", "--key", "x")
    assert "(--format seg)" in refused("predict", trained, scan, "--output", "o", "--keep_identifiers")
    picture = "discs/images/disc 00.png"
    assert "volumes or DICOM" in refused("predict", trained, picture, "--output", "o", "--window", "0", "1")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside this clone (GLOCAL_SHARED)")
def test_a_series_of_a_scanner_as_segmentation_and_as_nifti(trained, capsys):
    on_volumes(trained)
    series = SHARED / "dicom" / "ct_series"
    assert main(["predict", str(trained), str(series), "--output", "seg.dcm"]) == 0
    assert main(["predict", str(trained), str(series), "--output", "mask.nii.gz"]) == 0
    assert "Anonymous" not in "".join(capsys.readouterr())
    file = open_volume(series)
    nifti = nibabel.load("mask.nii.gz")
    assert np.allclose(nifti.affine, file.affine, atol=1e-5)
    mask = np.asarray(nifti.dataobj).transpose(2, 1, 0)
    assert mask.any()
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in file.files]
    seg = highdicom.seg.segread("seg.dcm")
    back = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(back, mask)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside this clone (GLOCAL_SHARED)")
def test_single_frames_by_a_model_of_pictures(trained, capsys):
    frames = SHARED / "dicom" / "single_files"
    assert main(["predict", str(trained), str(frames), "--output", "out", "--overlay"]) == 0
    for name, size in (("CT_small", (128, 128)), ("MR_small", (64, 64))):
        with Image.open(f"out/{name}.png") as mask, Image.open(f"out/overlays/{name}.png") as overlay:
            assert mask.size == overlay.size == size
    assert main(["predict", str(trained), str(frames / "MR_small.dcm"), "--output", "mr.dcm"]) == 0
    told = capsys.readouterr()
    assert "patient and study fields left empty" in told.err
    made = pydicom.dcmread("mr.dcm")
    source = pydicom.dcmread(frames / "MR_small.dcm")
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert str(made.PatientName) == ""
    assert str(source.PatientName) not in told.out + told.err


def test_postprocessing_is_applied_unless_it_is_not_wanted(trained, discs, scan):
    on_volumes(trained, postprocessing={"minimum_size": {"1": 1e6}})
    picture = str(discs / "images" / "disc 00.png")
    for wanted, empty in (("model", True), ("none", False)):
        command = ["predict", str(trained), str(scan), picture, "--output", wanted, "--postprocess", wanted]
        assert main(command) == 0
        assert (np.asarray(nibabel.load(f"{wanted}/scän 1.nii.gz").dataobj).max() == 0) == empty
        with Image.open(f"{wanted}/disc 00.png") as mask:
            assert (np.asarray(mask).max() == 0) == empty


def test_postprocessing_is_chosen_on_validation_and_stored(trained, discs, capsys, refused):
    path = trained / "model" / "model.json"
    record = json.loads(path.read_text()) | {"postprocessing": {"minimum_size": {"1": 1e6}}}
    path.write_text(json.dumps(record))
    command = ["evaluate", str(trained), "--data", str(discs), "--choose_postprocessing"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {trial["step"] for trial in told["trials"]} >= {"fill holes", "largest component"}
    assert told["trials"][0]["before"] > 0.3  # what the model had before was left out
    stored = json.loads(path.read_text())
    assert stored.get("postprocessing", {}) == told["postprocessing"]
    assert {**stored, "postprocessing": None} == {**record, "postprocessing": None}
    assert main(command) == 0
    assert "Post-processing tried on 3 validation cases" in capsys.readouterr().out
    assert "validation split, not on train" in refused(*command, "--split", "train")
    assert main(["evaluate", str(trained), "--data", str(discs), "--postprocess", "none"]) == 0
    (discs / "images" / "disc 00.png").unlink()
    (discs / "masks" / "disc 00.png").unlink()
    assert "not the data the run was trained on" in refused(*command)
