"""``glocal measure aop`` as typed: masks, data sets, a network, sequences, and what cannot be measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from glocal.biometry import measure_aop
from glocal.cli import main
from glocal.data.phantom import CLASSES, generate_case, write_phantoms
from glocal.inference import Predictor
from glocal.models.weights import ModelRecord, Preprocessing

SIDE = 96
PHANTOMS = [generate_case(index, size=SIDE) for index in range(3)]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(values, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def soft(mask):
    """A frame in which grey means the structure: dark symphysis, bright head, blurred borders."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.array([128.0, 5.0, 250.0])[mask], 1.2).round().astype(np.uint8)


@pytest.fixture
def network(monkeypatch):
    """A run whose network reads the grey values of :func:`soft`."""
    convolution = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([0.0, -12.0, 12.0])[:, None, None, None])
        convolution.bias.copy_(torch.tensor([0.0, 3.0, -9.0]))

    def make(classes=CLASSES, manifest=None):
        record = ModelRecord(
            "fake", {}, classes, "segmentation", Preprocessing((SIDE, SIDE), 1, (0.0,), (1.0,), "resize"),
            manifest=manifest or {"flips": ["horizontal"]},
        )  # fmt: skip
        monkeypatch.setattr(Predictor, "load", lambda source, device: Predictor(convolution, record, device=device))

    return make


def table(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "measurements.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_folder_of_masks(capsys) -> None:
    for phantom in PHANTOMS:
        save(phantom.mask, f"masks/sub/{phantom.id}.png")
    assert main(["measure", "aop", "masks", "--output", "out"]) == 0
    shown = capsys.readouterr().out
    assert "method ellipse" in shown
    assert "HSD nearest and perpendicular" in shown
    assert "--spacing" in shown  # distances are in pixels
    rows = table("out")
    assert [row["frame"] for row in rows] == [f"sub/{phantom.id}" for phantom in PHANTOMS]
    for row, phantom in zip(rows, PHANTOMS, strict=True):
        assert float(row["aop"]) == measure_aop(phantom.mask).aop
        assert row["hsd_nearest_mm"] == ""
        assert Path("out/pictures", row["frame"] + ".png").exists()
    assert not Path("out/curve.png").exists()


def test_a_data_set_brings_its_images_and_pixel_sizes(capsys) -> None:
    write_phantoms("set", 3, size=SIDE)
    assert main(["measure", "aop", "set", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["hsd"] == ["nearest", "perpendicular"]
    for facts, phantom in zip(report["frames"], PHANTOMS, strict=True):
        assert facts["aop"] == pytest.approx(phantom.progression.aop, abs=4)
        assert facts["spacing"] == pytest.approx([phantom.spacing] * 2, abs=1e-5)
        assert facts["hsd_nearest_mm"] == pytest.approx(phantom.spacing * facts["hsd_nearest_px"], rel=1e-4)


def test_published_method_and_given_spacing(capsys) -> None:
    save(PHANTOMS[0].mask, "a.png")
    assert main(["measure", "aop", "a.png", "--method", "iugc2024", "--spacing", "0.5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["frames"][0]
    expected = measure_aop(PHANTOMS[0].mask, method="iugc2024", spacing=0.5)
    assert (facts["aop"], facts["hsd_nearest_mm"]) == (expected.aop, expected.hsd_nearest_mm)
    assert facts["inferior"] == list(expected.inferior)
    assert facts["hsd_perpendicular_px"] is None


@pytest.mark.parametrize(
    ("values", "words"),
    [((0, 7, 8), []), ((0, 127, 255), ["--labels", "0", "127", "255"]), ((5, 9, 3), ["--labels", "5", "9", "3"])],
)
def test_label_values_of_other_makers(values, words, capsys) -> None:
    save(np.array(values)[PHANTOMS[1].mask], "m/a.png")
    save(np.array(values)[PHANTOMS[2].mask * 0], "m/b.png")
    assert main(["measure", "aop", "m", "--json", *words]) == 0
    frames = json.loads(capsys.readouterr().out)["frames"]
    assert frames[0]["aop"] == measure_aop(PHANTOMS[1].mask).aop
    assert frames[1]["reasons"] == ["no_symphysis", "no_head"]


def test_a_mirrored_frame(capsys) -> None:
    save(PHANTOMS[0].mask[:, ::-1], "a.png")
    assert main(["measure", "aop", "a.png", "--side", "right", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"][0]["aop"] == measure_aop(PHANTOMS[0].mask).aop


@pytest.mark.parametrize("interval", ["thresholds", "views", "none"])
def test_images_through_a_network(network, interval, capsys) -> None:
    network()
    for phantom in PHANTOMS:
        save(soft(phantom.mask), f"images/{phantom.id}.png")
    words = ["measure", "aop", "--run", "run", "images", "--interval", interval, "--output", "out"]
    assert main(words) == 0
    variants = {"thresholds": 5, "views": 20, "none": 0}[interval]
    report = json.loads(Path("out/measurements.json").read_text())
    for facts, phantom in zip(report["frames"], PHANTOMS, strict=True):
        assert facts["aop"] == pytest.approx(phantom.progression.aop, abs=4)
        assert facts.get("variants", 0) == variants
        if variants:
            assert facts["aop_low"] <= facts["aop"] <= facts["aop_high"]
            assert 0.5 < facts["aop_high"] - facts["aop_low"] < 25
        else:
            assert facts["aop_low"] is None
    assert ("range" in capsys.readouterr().out) == (interval != "none")


def test_classes_of_the_network_are_told_by_name_or_by_order(network, capsys, caplog) -> None:
    save(soft(PHANTOMS[0].mask), "a.png")
    network(("background", "one", "two"))
    assert main(["measure", "aop", "--run", "run", "a.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"][0]["aop"] == pytest.approx(PHANTOMS[0].progression.aop, abs=4)
    assert "class 1 (one) is taken for the symphysis" in caplog.text


def test_pages_of_one_file_are_a_sequence(capsys) -> None:
    pages = [Image.fromarray(np.roll(PHANTOMS[0].mask, shift, 0)) for shift in range(12)]
    pages[4] = Image.fromarray(np.zeros_like(PHANTOMS[0].mask))
    pages[0].save("sweep.tif", save_all=True, append_images=pages[1:])
    assert main(["measure", "aop", "sweep.tif", "--output", "out", "--window", "5"]) == 0
    assert "largest AoP" in capsys.readouterr().out
    rows = table("out")
    assert [row["frame"] for row in rows] == [f"sweep#{page:03d}" for page in range(12)]
    assert rows[4]["aop"] == ""
    assert float(rows[3]["aop_smoothed"]) == pytest.approx(float(rows[3]["aop"]), abs=0.5)
    report = json.loads(Path("out/measurements.json").read_text())
    assert report["cine"]["measured"] == 11
    assert Path("out/curve.png").stat().st_size > 1000


def test_slices_of_a_volume_are_frames(capsys) -> None:
    np.save("sweep.npy", np.stack([phantom.mask for phantom in PHANTOMS]))
    assert main(["measure", "aop", "sweep.npy", "--json"]) == 0
    found = [frame["aop"] for frame in json.loads(capsys.readouterr().out)["frames"]]
    assert found == pytest.approx([measure_aop(phantom.mask).aop for phantom in PHANTOMS])


def test_a_dicom_cine_brings_its_pixel_size(network, capsys) -> None:
    pydicom = pytest.importorskip("pydicom")
    network()
    cine, region, meta = pydicom.Dataset(), pydicom.Dataset(), pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = cine.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    meta.MediaStorageSOPInstanceUID = cine.SOPInstanceUID = pydicom.uid.generate_uid()
    cine.file_meta, cine.Modality, cine.PatientName = meta, "US", "Doe^Jane"
    cine.Rows = cine.Columns = SIDE
    cine.NumberOfFrames, cine.SamplesPerPixel, cine.PhotometricInterpretation = 3, 1, "MONOCHROME2"
    cine.BitsAllocated, cine.BitsStored, cine.HighBit, cine.PixelRepresentation = 8, 8, 7, 0
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1 = region.RegionLocationMaxY1 = SIDE - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
    cine.SequenceOfUltrasoundRegions = [region]
    cine.PixelData = np.stack([soft(phantom.mask) for phantom in PHANTOMS]).tobytes()
    cine.save_as("sweep.dcm", enforce_file_format=True)
    assert main(["measure", "aop", "--run", "run", "sweep.dcm", "--output", "out"]) == 0
    shown = capsys.readouterr()
    assert "mm" in shown.out
    report = Path("out/measurements.json").read_text()
    assert "Doe" not in report + shown.out + shown.err
    frames = json.loads(report)["frames"]
    assert [facts["frame"] for facts in frames] == ["sweep#000", "sweep#001", "sweep#002"]
    for facts, phantom in zip(frames, PHANTOMS, strict=True):
        assert facts["aop"] == pytest.approx(phantom.progression.aop, abs=4)
        assert facts["hsd_nearest_mm"] == pytest.approx(0.5 * facts["hsd_nearest_px"])
    assert Path("out/curve.png").exists()


def test_a_folder_of_frames_in_natural_order(capsys) -> None:
    for number in (2, 10, 1):
        save(PHANTOMS[0].mask, f"frames/f{number}.png")
    assert main(["measure", "aop", "frames", "--cine", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [facts["frame"] for facts in report["frames"]] == ["f1", "f2", "f10"]
    assert report["cine"]["frames"] == 3


def test_good_frames_are_measured_and_a_bad_one_told(capsys) -> None:
    save(PHANTOMS[0].mask, "masks/a.png")
    Path("masks/b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["measure", "aop", "masks", "--output", "out"]) == 2
    shown = capsys.readouterr()
    assert "masks/b.png" in shown.err
    assert "1 of 2" in shown.err
    rows = table("out")
    assert rows[0]["aop"] != ""
    assert "masks/b.png" in rows[1]["error"]


def hostile() -> dict[str, tuple[list[str], str]]:
    mask = PHANTOMS[0].mask
    save(0 * mask, "zero/a.png")
    save(np.array([0, 127, 255])[mask], "grey/a.png")
    save(np.array([0, 2, 1])[mask], "swapped/a.png")
    save(np.dstack([mask * 90, mask * 40, mask]), "colour/a.png")
    save(mask, "good/a.png")
    save(mask, "other/b.png")
    save(mask[:50], "small/a.png")
    Path("empty").mkdir(exist_ok=True)
    return {
        "empty folder": (["empty"], "empty: no images"),
        "no folder": (["nowhere"], "nowhere"),
        "one value": (["zero"], "holds only the value 0"),
        "values": (["grey"], "say what they mean, such as --labels 0 127 255"),
        "declared otherwise": (["grey", "--labels", "0", "1", "2"], "holds the value 127"),
        "twice the same": (["good", "--labels", "0", "1", "1"], "three different values"),
        "exchanged": (["swapped"], "--labels 0 2 1"),
        "colour": (["colour"], "a colour picture"),
        "names": (["good", "--images", "other"], "no image named like a.png"),
        "sizes": (["good", "--images", "small"], "96x96 pixels, its image 96x50"),
        "spacing": (["good", "--spacing", "-1"], "spacing -1.0"),
        "three spacings": (["good", "--spacing", "1", "1", "1"], "one length in mm, or two"),
        "window": (["good", "--cine", "--window", "4"], "odd number"),
        "method": (["good", "--method", "calipers"], "method"),
        "run": (["good", "--run", "nowhere"], "nowhere"),
        "run with labels": (["good", "--run", "x", "--labels", "0", "1", "2"], "go with masks"),
        "not square": (["good", "--spacing", "0.2", "0.3", "--method", "iugc2024"], "square pixels"),
    }


@pytest.mark.parametrize("name", [
    "empty folder", "no folder", "one value", "values", "declared otherwise", "twice the same", "exchanged", "colour",
    "names", "sizes", "spacing", "three spacings", "window", "method", "run", "run with labels", "not square",
])  # fmt: skip
def test_what_cannot_be_measured_is_one_line(name, capsys) -> None:
    words, said = hostile()[name]
    assert main(["measure", "aop", *words, "--output", "out"]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("glocal: error: ")
    assert "\n" not in shown
    assert said in shown
    assert not Path("out/measurements.json").exists() or name == "sizes"


def test_what_is_there_stays_unless_told(capsys) -> None:
    save(PHANTOMS[0].mask, "a.png")
    assert main(["measure", "aop", "a.png", "--output", "out"]) == 0
    assert main(["measure", "aop", "a.png", "--output", "out"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["measure", "aop", "a.png", "--output", "out", "--overwrite"]) == 0
    Path("a.png").rename("-a ü.png")
    assert main(["measure", "aop", "--output", "other", "--", "-a ü.png"]) == 0
    assert Path("other/pictures/-a ü.png").exists()


def test_a_network_of_other_classes_is_refused(network, capsys) -> None:
    network(("background", "polyp", "x", "y"))
    save(soft(PHANTOMS[0].mask), "a.png")
    assert main(["measure", "aop", "--run", "run", "a.png"]) == 2
    assert "knows 4 classes" in capsys.readouterr().err
