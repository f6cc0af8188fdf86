"""Volumes from file to file: inspect, prepare, train on slices, measure in 3-D, mend, predict NIfTI and DICOM SEG.

    python benchmarks/real_volumes.py --data ../shared/data

Finished trainings are kept in ``runs/volumes`` and not repeated; all else is made anew, and the results page from it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import platform
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from _runs import percent, torch_versions
from glocal.cli import main as command_line
from glocal.data.contact_sheet import overlay
from glocal.data.readers import Picture
from glocal.errors import counted
from glocal.files import read_json, write_text

PAGE = Path("docs/results/volumes.md")
SHEET = Path("docs/assets/volumes.jpg")
READ_ONLY = "ct_organs_example"
"""One volume, too few to train on: it is read, prepared and predicted."""
SERIES = "dicom/ct_series"
TILE, GAP = 240, 4
SHOWN = 3
"""Test volumes of each set in the picture, at most."""


@dataclass(frozen=True)
class Plan:
    """One training on slices."""

    data: str
    size: int
    epochs: int
    fractions: str
    settings: tuple[str, ...]

    def command(self, runs: Path) -> list[str]:
        """The words after ``glocal``."""
        words = ["train", str(runs / "data" / self.data), "--recipe", "quick", "--model", "lmnet_tiny"]
        settings = (f"--data.size={self.size}", f"--data.fractions={self.fractions}", f"--train.epochs={self.epochs}")
        return [*words, *settings, *self.settings, "--output", str(runs / self.data)]


PLANS = (
    Plan(
        "hippocampus",
        48,
        10,
        "[0.5,0.2,0.3]",
        ("--optimizer.lr=0.001", "--train.batch_size=8", "--train.balanced_sampling=true"),
    ),
    Plan("acdc_volumes", 64, 40, "[0.34,0.33,0.33]", ("--optimizer.lr=0.002", "--train.batch_size=4")),
)
TELLER = PLANS[1]
"""Whose network is shown the CT, to see that files go in and come out."""


def run(*words: str) -> str:
    """What a command prints.

    Raises:
        SystemExit: It failed.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = command_line(list(words))
    if code:
        raise SystemExit(f"glocal {shlex.join(words)}: failed")
    return printed.getvalue()


def train(plan: Plan, runs: Path) -> None:
    """Train, or go on where it was interrupted, unless that is done."""
    folder = runs / plan.data
    if not (folder / "manifest.json").exists():
        run(*plan.command(runs))
    elif not (folder / "model" / "model.json").exists():
        run("train", "--resume", str(folder))


def measure(plan: Plan, runs: Path) -> dict[str, Any]:
    """The summaries of the test split as trained, by the published protocol, and mended; and what is mended."""
    folder = str(runs / plan.data)
    found: dict[str, Any] = {"plain": json.loads(run("evaluate", folder, "--postprocess", "none", "--json"))}
    found["train"] = json.loads(run("evaluate", folder, "--split", "train", "--postprocess", "none", "--json"))
    found["preset"] = json.loads(run("evaluate", folder, "--preset", "hiperformer", "--json"))
    found["chosen"] = json.loads(run("evaluate", folder, "--choose_postprocessing", "--json"))
    mended = f"{folder}/evaluation/test-mended"
    found["mended"] = json.loads(run("evaluate", folder, "--output", mended, "--overwrite", "--json"))
    return found


def test_volumes(plan: Plan, runs: Path) -> list[str]:
    """Ids of the volumes of the test split."""
    return volumes_by_part(plan, runs)["test"]


def volumes_by_part(plan: Plan, runs: Path) -> dict[str, list[str]]:
    """Ids of the volumes of each part; their slices are its cases."""
    splits = read_json(runs / plan.data / "splits.json")["splits"]
    return {part: list(dict.fromkeys(id.rpartition("#")[0] for id in ids)) for part, ids in splits.items()}


def predict(plan: Plan, runs: Path) -> list[dict[str, Any]]:
    """Masks of the test volumes as NIfTI; what ``glocal predict`` says of each."""
    images = [str(runs / "data" / plan.data / "images" / f"{id}.nii.gz") for id in test_volumes(plan, runs)]
    output = runs / "predicted" / plan.data
    told = run("predict", str(runs / plan.data), *images, "--output", str(output), "--overwrite", "--json")
    facts: list[dict[str, Any]] = json.loads(told)
    return facts


def scores_in(folder: Path) -> dict[tuple[str, str], float]:
    """Dice by volume and class, of ``cases.csv``."""
    with (folder / "cases.csv").open(encoding="utf-8", newline="") as stream:
        return {(row["case"], row["class"]): float(row["dice"]) for row in csv.DictReader(stream)}


def dice_of_files(mask: Path, truth: Path, classes: int) -> list[float]:
    """Dice of every structure, of two NIfTI files read by nibabel alone."""
    ours, theirs = (np.asanyarray(nibabel.load(path).dataobj) for path in (mask, truth))
    both = [(ours == k, np.rint(theirs) == k) for k in range(1, classes)]
    return [float(2 * (a & b).sum() / (a.sum() + b.sum())) if a.any() or b.any() else 1.0 for a, b in both]


def check_files(plan: Plan, runs: Path, predicted: Sequence[dict[str, Any]]) -> list[str]:
    """One line of the table of files: geometry kept, and Dice by nibabel against that of ``glocal evaluate``."""
    scores = scores_in(runs / plan.data / "evaluation" / "test-mended")
    names = read_json(runs / plan.data / "model" / "model.json")["classes"]
    same, most = 0, 0.0
    for facts in predicted:
        mask, image = nibabel.load(facts["mask"]), nibabel.load(facts["image"])
        same += bool(mask.shape == image.shape and np.array_equal(mask.affine, image.affine))
        truth = Path(facts["image"].replace("/images/", "/masks/"))
        found = dice_of_files(Path(facts["mask"]), truth, len(names))
        id = Path(facts["image"]).name.removesuffix(".nii.gz")
        most = max(most, *(abs(d - scores[id, name]) for d, name in zip(found, names[1:], strict=True)))
    return [f"`{plan.data}`", str(len(predicted)), f"{same} of {len(predicted)}", f"{most:.1e}"]


def series_as_both(series: Path, runs: Path) -> dict[str, Any]:
    """The DICOM series segmented twice, as NIfTI and as DICOM SEG; and how the two files agree in space."""
    network, output = str(runs / TELLER.data), runs / "predicted"
    for name in ("series.nii.gz", "series.dcm"):
        run("predict", network, str(series), "--output", str(output / name), "--overwrite", "--json")
    return compare_in_space(output / "series.dcm", output / "series.nii.gz", sorted(series.iterdir()))


def compare_in_space(segmentation: Path, nifti: Path, images: Sequence[Path]) -> dict[str, Any]:
    """Every pixel of every source image looked up in both files: by its instance UID, and by its place in mm."""
    import highdicom
    import pydicom

    sources = [pydicom.dcmread(path) for path in images]
    made, volume = highdicom.seg.segread(segmentation), nibabel.load(nifti)
    values = np.asanyarray(volume.dataobj)
    uids = [source.SOPInstanceUID for source in sources]
    planes = made.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    differ, off = 0, 0.0
    for source, plane in zip(sources, planes, strict=True):
        index = indices_in(volume, source)
        off = max(off, float(np.abs(index - np.rint(index)).max()))
        i, j, k = np.moveaxis(np.rint(index).astype(int), -1, 0)
        differ += int((values[i, j, k] != plane).sum())
    return {
        "images": len(sources),
        "segments": [item.SegmentLabel for item in made.SegmentSequence],
        "segmented": int((planes > 0).sum()),
        "pixels": int(planes.size),
        "differ": differ,
        "off": off,
        "in_nifti": int((values > 0).sum()),
    }


def indices_in(volume: Any, source: Any) -> NDArray[np.float64]:
    """Of each pixel of a DICOM image its voxel ``(H, W, 3)`` in a NIfTI, from its header (DICOM PS3.3 C.7.6.2)."""
    across, down = (np.array(source.ImageOrientationPatient[n : n + 3], float) for n in (0, 3))
    (step_down, step_across), origin = map(float, source.PixelSpacing), np.array(source.ImagePositionPatient, float)
    rows, columns = np.mgrid[: source.Rows, : source.Columns].astype(float)[..., None]
    ras = (origin + columns * step_across * across + rows * step_down * down) * (-1, -1, 1)
    inverse = np.linalg.inv(volume.affine)
    found: NDArray[np.float64] = ras @ inverse[:3, :3].T + inverse[:3, 3]
    return found


def shown_slices(plan: Plan, runs: Path, predicted: Sequence[dict[str, Any]]) -> Iterator[list[Image.Image]]:
    """Columns of the picture: the slice with most structures of a test volume, its truth and its prediction."""
    for facts in predicted[:SHOWN]:
        truth = facts["image"].replace("/images/", "/masks/")
        image, true, ours = (canonical(Path(path)) for path in (facts["image"], truth, facts["mask"]))
        k = int((true > 0).sum((0, 1)).argmax())
        low, high = np.percentile(image, (0.5, 99.5))
        grey = np.clip((image[..., k] - low) / max(high - low, 1e-9), 0, 1)
        picture = Picture(displayed(np.rint(grey * 255).astype(np.uint8))[..., None])
        masks = [displayed(np.rint(mask[..., k]).astype(np.uint8)) for mask in (np.zeros_like(true), true, ours)]
        yield [Image.fromarray(overlay(picture, mask, TILE)) for mask in masks]


def canonical(path: Path) -> NDArray[np.float64]:
    """Voxels of a NIfTI along R, A, S."""
    return np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(), np.float64)


def displayed(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An axial slice (R, A) as it is displayed: the patient's right on the left, front on top."""
    return np.ascontiguousarray(plane.T[::-1, ::-1])


def draw(columns: Sequence[Sequence[Image.Image]]) -> None:
    """All columns in one picture."""
    sheet = Image.new("RGB", (len(columns) * (TILE + GAP) - GAP, 3 * (TILE + GAP) - GAP), (24, 24, 24))
    for x, column in enumerate(columns):
        for y, tile in enumerate(column):
            place = (x * (TILE + GAP) + (TILE - tile.width) // 2, y * (TILE + GAP) + (TILE - tile.height) // 2)
            sheet.paste(tile, place)
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(SHEET, quality=85, optimize=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]


def inspected(name: str, runs: Path, facts: dict[str, Any]) -> list[str]:
    """One line of the table of what was found."""
    report = read_json(runs / "data" / name / "prepare-report.json")
    sizes = sorted({side for size in facts["sizes"] for side in (size["slices"], size["height"], size["width"])})
    spacings = ["×".join(f"{side:g}" for side in item["mm"]) for item in facts["spacings"]]
    findings = [f"{item['severity']}: {item['kind']}" for item in facts["findings"]]
    changed = sum(bool(case["changes"]) for case in report["cases"])
    axes, kinds = ", ".join(facts["orientations"]), ", ".join(facts["kinds"])
    cells = [f"`{name}`", str(facts["cases"]), str(facts["groups"]), f"{sizes[0]} to {sizes[-1]}", ", ".join(spacings)]
    return [*cells, axes, kinds, "; ".join(findings) or "–", str(changed)]


def score_row(plan: Plan, runs: Path, found: dict[str, Any]) -> list[str]:
    """One line of the table of scores."""
    macro, mended = found["plain"]["macro"]["foreground"], found["mended"]["macro"]["foreground"]
    unit = found["plain"]["conventions"]["unit"]
    each = found["plain"]["per_class"]
    by_class = ", ".join(f"{name} {100 * each[name]['metrics']['dice']['mean']:.1f}" for name in list(each)[1:])
    parts = "/".join(str(len(ids)) for ids in volumes_by_part(plan, runs).values())
    minutes = read_json(runs / plan.data / "manifest.json")["duration_seconds"] / 60
    seen = f"{100 * found['train']['macro']['foreground']['dice']['mean']:.1f}"
    cells = [f"`{plan.data}`", parts, f"{plan.size}²", str(plan.epochs), seen, percent(macro["dice"]), by_class]
    distances = [f"{macro[name]['mean']:.2f} {unit}" for name in ("hd95", "assd")]
    return [*cells, *distances, f"{100 * macro['nsd']['mean']:.1f}", percent(mended["dice"]), f"{minutes:.0f} min"]


def mending_rows(plan: Plan, found: dict[str, Any]) -> list[list[str]]:
    """Lines of the table of what was tried on the validation volumes."""
    return [
        [
            f"`{plan.data}`",
            trial["name"],
            trial["step"],
            f"{100 * trial['before']:.2f} → {100 * trial['after']:.2f}",
            f"{trial['better']}/{trial['worse']}",
            "yes" if trial["kept"] else "no",
        ]
        for trial in found["chosen"]["trials"]
    ]


def preset_row(plan: Plan, found: dict[str, Any]) -> list[str]:
    """One line of the table of the published protocol."""
    figures = {item["name"]: item for item in found["preset"]["published"]["figures"]}
    cells = [f"`{plan.data}`", f"{100 * figures['DSC']['value']:.1f}", f"{figures['HD95']['value']:.2f}"]
    return [*cells, f"{figures['HD95 (mm)']['value']:.2f}"]


def write_page(options: Any, facts: dict[str, Any], results: dict[str, Any]) -> None:
    """The results page."""
    runs, done, series, organs = options.runs, results["sets"], results["series"], results["organs"]
    units = {plan.data: done[plan.data]["plain"] for plan in PLANS}
    by_group = "; ".join(
        f"`{name}`: {counted(found['groups'], 'patient') if found['groups'] else counted(found['cases'], 'volume')}"
        for name, found in units.items()
    )
    segments = ", ".join(series["segments"])
    volumes = ", ".join(f"{name} {count}" for name, count in organs["voxels"].items() if name != "background")
    lines = [
        "# Volumes, from file to file",
        "",
        "Written by `python benchmarks/real_volumes.py --data DATA`; not edited by hand.",
        "",
        "A network for images trained on slices of small MR volumes for a few minutes, then everything that [Volumes]"
        "(../guides/volumes.md) and [Predict volumes](../guides/predict-volumes.md) promise, from the command line. "
        "**This shows that the way from file to file holds, not what the network can do**: the test parts are a few "
        "volumes, and nothing here compares with published figures.",
        "",
        "## Inspected and prepared",
        "",
        *table(
            ("set", "volumes", "groups", "sides", "spacing, mm", "axes", "files", "`data inspect` says", "changed"),
            [inspected(name, runs, facts[name]) for name in facts],
        ),
        "",
        "Changed: volumes of which `glocal data prepare` had anything to say.",
        "",
        "## Measured in three dimensions",
        "",
        "`lmnet_tiny` from nothing; slices of training at the size said, masks compared as whole volumes at the size "
        f"of their files. The epoch is the best of the validation part. Intervals: bootstrap over "
        f"groups, or volumes where none are known (in the test part {by_group}).",
        "",
        *table(
            (
                *("set", "train/val/test", "size", "epochs", "Dice on the training part, %"),
                *("Dice, foreground, % (95 % CI)", "Dice by class, %"),
                *("HD95", "ASSD", "NSD at 2, %", "Dice mended, %", "training"),
            ),
            [score_row(plan, runs, done[plan.data]) for plan in PLANS],
        ),
        "",
        "`acdc_volumes` has three patients, one in each part: what is learned from one says little of another. Its "
        "spacing was lost by its source: its mm are voxels.",
        "",
        "By HiPerformer's published protocol (`--preset hiperformer`):",
        "",
        *table(("set", "DSC, %", "HD95, voxels", "HD95, mm"), [preset_row(plan, done[plan.data]) for plan in PLANS]),
        "",
        "## Mended",
        "",
        "Tried on the validation volumes by `--choose_postprocessing`, stored with the model, and done by everything "
        "that follows. Better/worse: volumes.",
        "",
        *table(
            ("set", "class", "step", "Dice on validation, %", "better/worse", "kept"),
            [row for plan in PLANS for row in mending_rows(plan, done[plan.data])],
        ),
        "",
        "## Predicted",
        "",
        "Masks of `glocal predict`, read by nibabel alone. Geometry: shape and affine are those of the volume. Dice: "
        "largest difference between what is computed from the files and `cases.csv` of `glocal evaluate`.",
        "",
        *table(("set", "volumes", "geometry", "difference of Dice"), [done[plan.data]["files"] for plan in PLANS]),
        "",
        f"![Slice, truth and prediction](../assets/{SHEET.name})",
        "",
        "*Test volumes, the slice that shows most of the structures; rows: slice, truth, prediction. Columns: "
        f"{', '.join(f'{min(SHOWN, len(test_volumes(plan, runs)))} of {plan.data}' for plan in PLANS)} (hippocampus: "
        "Medical Segmentation Decathlon, CC BY-SA 4.0; ACDC: Bernard et al. 2018, CC BY-NC-SA 4.0).*",
        "",
        "## CT and DICOM: files in, files out",
        "",
        f"The network of `{TELLER.data}` knows nothing of CT; it is shown some to see that files are read, turned as "
        "in training, turned back and written. What it finds there means nothing.",
        "",
        f"* `{READ_ONLY}`, {'×'.join(map(str, reversed(organs['shape'])))} voxels: shape and affine of the mask are "
        f"{'' if organs['same'] else '**not** '}those of the volume. Voxels: {volumes}.",
        f"* The DICOM series of {series['images']} images as NIfTI and as DICOM SEG, the latter read by highdicom and "
        f"pydicom (segments: {segments}). Every pixel of every image was looked up in both files, by instance UID in "
        "the one and by its place in space, computed from the DICOM headers alone, in the other: "
        f"**{series['differ']} of {series['pixels']} differ** ({series['segmented']} are segmented, and "
        f"{series['in_nifti']} in the NIfTI); places are within {series['off']:.0e} of a voxel.",
        "",
        "The commands:",
        "",
        "```console",
        *(f"$ glocal {line}" for line in commands(runs)),
        "```",
        "",
        f"Machine: {platform.machine()}, one thread, torch {torch_versions(runs / plan.data for plan in PLANS)}; it "
        "did other work meanwhile: times are upper bounds.",
        "",
    ]
    write_text(PAGE, "\n".join(lines))


def commands(runs: Path) -> list[str]:
    """What one set goes through, and the series."""
    plan = TELLER
    folder, prepared = str(runs / plan.data), str(runs / "data" / plan.data)
    images = " ".join(f"{prepared}/images/{id}.nii.gz" for id in test_volumes(plan, runs))
    return [
        f"data inspect DATA/{plan.data}",
        f"data prepare DATA/{plan.data} {prepared}",
        *(shlex.join(plan.command(runs)) for plan in PLANS),
        f"evaluate {folder} --postprocess none",
        f"evaluate {folder} --preset hiperformer",
        f"evaluate {folder} --choose_postprocessing",
        f"evaluate {folder} --output {folder}/evaluation/test-mended",
        f"predict {folder} {images} --output {runs / 'predicted' / plan.data}",
        f"predict {folder} DATA/{SERIES} --output {runs / 'predicted' / 'series.nii.gz'}",
        f"predict {folder} DATA/{SERIES} --output {runs / 'predicted' / 'series.dcm'}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/volumes"))
    options = parser.parse_args()
    runs, facts = options.runs, {}
    for name in (*(plan.data for plan in PLANS), READ_ONLY):
        facts[name] = json.loads(run("data", "inspect", str(options.data / name), "--json"))
        run("data", "prepare", str(options.data / name), str(runs / "data" / name), "--json")
    sets, columns = {}, []
    for plan in PLANS:
        train(plan, runs)
        found = measure(plan, runs)
        predicted = predict(plan, runs)
        sets[plan.data] = {**found, "files": check_files(plan, runs, predicted)}
        columns += list(shown_slices(plan, runs, predicted))
    draw(columns)
    image, mask = runs / "data" / READ_ONLY / "images" / "example_ct.nii.gz", runs / "predicted" / "organs.nii.gz"
    told = run("predict", str(runs / TELLER.data), str(image), "--output", str(mask), "--overwrite", "--json")
    organs, pair = json.loads(told)[0], [nibabel.load(path) for path in (image, mask)]
    organs["same"] = pair[0].shape == pair[1].shape and np.array_equal(pair[0].affine, pair[1].affine)
    series = series_as_both(options.data / SERIES, runs)
    write_page(options, facts, {"sets": sets, "organs": organs, "series": series})
    print(json.dumps({"page": str(PAGE), "picture": str(SHEET)}))


if __name__ == "__main__":
    main()
