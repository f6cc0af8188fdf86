"""Train DSSAU-Net and LM-Net on PSFHS and measure what an obstetrician reads: AoP and HSD; write the results page.

    python benchmarks/real_biometry.py --data ../shared/data/psfhs --size 128 --epochs 12

Finished runs are kept in ``runs/biometry`` and not repeated; the page is written anew from their evaluations.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import glocal
from _runs import torch_versions
from glocal.biometry import Measurement, measure_aop
from glocal.biometry.drawing import draw_measurement
from glocal.cli import main as command_line
from glocal.data import open_dataset
from glocal.evaluation.statistics import Bootstrap
from glocal.files import read_json, write_text

PAGE = Path("docs/results/psfhs-biometry.md")
SHEET = Path("docs/assets/psfhs-biometry.jpg")
EXAMPLE, EXAMPLE_CASE = Path("docs/assets/biometry.jpg"), "03807"
"""One frame measured in the experts' mask, for docs/guides/biometry.md."""
EVALUATION = Path("evaluation/test-iugc2024")
TILE = 384
SHOWN = 4
MODELS = {"dssaunet_tiny": "dssaunet", "lmnet_tiny": "lmnet"}
"""Network -> its recipe."""


@dataclass(frozen=True)
class Plan:
    """What every network is given."""

    data: Path
    runs: Path
    size: int
    epochs: int

    def run(self, model: str) -> Path:
        """The folder of its run."""
        return self.runs / f"{self.data.name}-{model}-{self.size}-{self.epochs}"

    def command(self, model: str, data: str) -> list[str]:
        """The words after ``glocal``; the learning rate and batch suit a short training on a CPU."""
        settings = (f"--data.size={self.size}", f"--train.epochs={self.epochs}", "--optimizer.lr=0.001")
        words = ["train", data, "--recipe", MODELS[model], "--model", model, *settings, "--train.batch_size=8"]
        return [*words, "--output", str(self.run(model))]


def train_and_evaluate(plan: Plan, model: str) -> None:
    """Train (or go on where it was interrupted) and evaluate on the test split, unless that is done.

    Raises:
        SystemExit: Training or evaluation failed.
    """
    run = plan.run(model)
    words: list[str] = []
    if not (run / "manifest.json").exists():
        words = plan.command(model, str(plan.data))
    elif not (run / "model" / "model.json").exists():
        words = ["train", "--resume", str(run)]
    if words and command_line(words):
        raise SystemExit(f"{run}: training failed")
    evaluated = (run / EVALUATION / "preset.csv").exists()
    if not evaluated and command_line(["evaluate", str(run), "--preset", "iugc2024"]):
        raise SystemExit(f"{run}: evaluation failed")


def published(run: Path) -> dict[str, dict[str, Any]]:
    """The preset's figures by name."""
    summary = read_json(run / EVALUATION / "summary.json")
    return {figure["name"]: figure for figure in summary["published"]["figures"]}


def columns(run: Path) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """What was measured in each test image: its group, and the numbers by name."""
    with (run / EVALUATION / "preset.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in ("case", "group")]
    values = {name: np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in names}
    return [row["group"] or row["case"] for row in rows], values


def interval(groups: list[str], values: NDArray[np.float64], digits: int = 1) -> str:
    """Mean and its bootstrap interval over groups."""
    if np.isnan(values).all():
        return "–"
    low, high = Bootstrap.over(groups).means(values[:, None])[0]
    return f"{np.nanmean(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def shown(value: float | None, digits: int = 1) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def mask_row(plan: Plan, model: str) -> str:
    """One line of the table of masks."""
    run, figures = plan.run(model), published(plan.run(model))
    splits = read_json(run / "splits.json")["splits"]
    parts = "/".join(str(len(splits[part])) for part in ("train", "val", "test"))
    cells = [f"`{model}`", parts]
    for metric, digits in (("DSC", 3), ("ASD", 2), ("HD", 2)):
        cells += [shown(figures[f"{metric} ({part})"]["value"], digits) for part in ("PS", "FH", "all")]
    minutes = read_json(run / "manifest.json")["duration_seconds"] / 60
    return f"| {' | '.join([*cells, f'{minutes:.0f} min'])} |"


def angle_rows(plan: Plan, model: str) -> list[str]:
    """One line of the table of angles for each method."""
    figures = published(plan.run(model))
    groups, values = columns(plan.run(model))
    rows = []
    for method in ("ellipse", "iugc2024", "fh_ps_aop"):
        delta = np.abs(values[f"{method}_aop_prediction"] - values[f"{method}_aop_truth"])
        known = delta[~np.isnan(delta)]
        kind = "perpendicular" if method == "fh_ps_aop" else "nearest"
        hsd = np.abs(values[f"{method}_hsd_{kind}_px_prediction"] - values[f"{method}_hsd_{kind}_px_truth"])
        cells = [
            f"`{model}`",
            f"`{method}`",
            interval(groups, delta),
            shown(float(np.median(known)) if known.size else None, 1),
        ]
        cells += [shown(100 * float((known <= limit).mean()) if known.size else None, 0) + " %" for limit in (5, 10)]
        failed = int(figures[f"Failures ({method})"]["value"])
        rows.append(f"| {' | '.join([*cells, f'{interval(groups, hsd)} ({kind})', str(failed)])} |")
    return rows


def agreement_row(plan: Plan, model: str) -> str:
    """One line of the table of agreement, by the recommended method."""
    figures = published(plan.run(model))
    bias, low, high = (
        figures[f"Bland–Altman {name} (ellipse)"]["value"] for name in ("bias", "lower limit", "upper limit")
    )
    cells = [f"`{model}`", f"{shown(bias)}°", f"{shown(low)}° to {shown(high)}°"]
    for name in ("Agreement", "Sensitivity", "Specificity"):
        figure = figures[f"{name} at 120° (ellipse)"]
        share = None if figure["value"] is None else 100 * figure["value"]
        cells.append(f"{shown(share, 0)} % (n = {figure['n']})")
    return f"| {' | '.join([*cells, format(figures['FH-PS-AOP score']['value'], '.3f')])} |"


def of_methods(plan: Plan) -> str:
    """How far the published evaluators are from the recommended measurement on the experts' own masks."""
    values = columns(plan.run(next(iter(MODELS))))[1]
    parts = []
    for method in ("iugc2024", "fh_ps_aop"):
        difference = values[f"{method}_aop_truth"] - values["ellipse_aop_truth"]
        spread = f"mean |Δ| {np.nanmean(np.abs(difference)):.1f}°, largest {np.nanmax(np.abs(difference)):.1f}°"
        parts.append(f"`{method}` against `ellipse`: {spread}, mean {np.nanmean(difference):+.1f}°")
    return "; ".join(parts)


def draw(plan: Plan) -> None:
    """Test images: measured in the experts' mask, then in each network's."""
    dataset = open_dataset(plan.data, task="segmentation")
    predictors = [glocal.load(plan.run(model)) for model in MODELS]
    ids: list[str] = read_json(plan.run(next(iter(MODELS))) / "splits.json")["splits"]["test"]
    rows: list[list[Image.Image]] = [[] for _ in range(1 + len(predictors))]
    for k in range(SHOWN):
        case = dataset.case(ids[(2 * k + 1) * len(ids) // (2 * SHOWN)])
        pixels = dataset.read_image(case).pixels[..., 0]
        masks = [dataset.read_label(case), *(predictor(case.image).mask for predictor in predictors)]
        for row, name, mask in zip(rows, ("experts", *MODELS), masks, strict=True):
            measured: Measurement = measure_aop(mask)
            picture = draw_measurement(pixels, measured, mask=mask, title=f"{case.id} {name}")
            row.append(picture.resize((TILE, round(picture.height * TILE / picture.width)), Image.Resampling.LANCZOS))
    heights = [max(picture.height for picture in row) for row in rows]
    sheet = Image.new("RGB", ((TILE + 6) * SHOWN - 6, sum(heights) + 6 * (len(rows) - 1)), (24, 24, 24))
    for n, row in enumerate(rows):
        for k, picture in enumerate(row):
            sheet.paste(picture, (k * (TILE + 6), sum(heights[:n]) + 6 * n))
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(SHEET, quality=82, optimize=True)


def draw_example(data: Path) -> None:
    """One frame at full size, in the experts' mask."""
    dataset = open_dataset(data, task="segmentation")
    case = dataset.case(EXAMPLE_CASE)
    mask, pixels = dataset.read_label(case), dataset.read_image(case).pixels[..., 0]
    picture = draw_measurement(pixels, measure_aop(mask), mask=mask, title=f"PSFHS {case.id}")
    EXAMPLE.parent.mkdir(parents=True, exist_ok=True)
    picture.save(EXAMPLE, quality=88, optimize=True)


def write_page(plan: Plan) -> None:
    """The results page, from what the runs left on disk."""
    masks = ["network", "train/val/test", *(f"{m} {p}" for m in ("DSC", "ASD", "HD") for p in ("PS", "FH", "both"))]
    angles = ["network", "measured by", "ΔAoP, mean (95 % CI), °", "median, °", "within 5°", "within 10°", "ΔHSD, px"]
    limits = ["network", "bias of AoP", "95 % limits of agreement", "same side of 120°", "sensitivity", "specificity"]
    runs = [plan.run(model) for model in MODELS]
    lines = [
        "# Angle of progression on PSFHS",
        "",
        "Written by `python benchmarks/real_biometry.py --data DATA "
        f"--size {plan.size} --epochs {plan.epochs}`; not edited by hand.",
        "",
        f"The two small networks were trained from nothing for {plan.epochs} epochs at {plan.size}² pixels, on images "
        "of 256² (a sample of PSFHS, 1145 of 1358 images), split by groups of like frames, seed "
        "0. The best epoch is that of the validation split; the test split was measured once, at the images' own size. "
        "**This shows what can be read off such masks, not what the networks can do**: the trainings are short, and "
        "nothing here compares with published figures. Definitions: [Biometry](../guides/biometry.md).",
        "",
        "## Masks, by the challenge's definitions",
        "",
        "ASD and HD in pixels of 256².",
        "",
        f"| {' | '.join([*masks, 'training'])} |",
        f"|{'---|' * (len(masks) + 1)}",
        *(mask_row(plan, model) for model in MODELS),
        "",
        "## Angle and distance",
        "",
        "|predicted − true|, over images in which both masks could be measured; prediction and truth are measured by "
        "the same method. Failures: predictions without an AoP where the truth has one.",
        "",
        f"| {' | '.join([*angles, 'failures'])} |",
        f"|{'---|' * (len(angles) + 1)}",
        *(row for model in MODELS for row in angle_rows(plan, model)),
        "",
        "By the recommended method:",
        "",
        f"| {' | '.join([*limits, 'FH-PS-AOP score'])} |",
        f"|{'---|' * (len(limits) + 1)}",
        *(agreement_row(plan, model) for model in MODELS),
        "",
        f"The methods themselves differ on the experts' masks of the test split: {of_methods(plan)}.",
        "",
        f"![Measured in the experts' masks and in those of the networks](../assets/{SHEET.name})",
        "",
        f"*Test images of PSFHS (CC BY 4.0, Chen et al. 2024); rows: experts, {', '.join(MODELS)}. Cyan: fitted "
        "ellipses; white: axis of the symphysis, tangent and angle; yellow: nearest point of the head; green: along "
        "the infrapubic line.*",
        "",
        "The commands:",
        "",
        "```console",
        *(f"$ glocal {shlex.join(plan.command(model, 'DATA'))}" for model in MODELS),
        *(f"$ glocal evaluate {shlex.quote(str(run))} --preset iugc2024" for run in runs),
        "```",
        "",
        f"Machine: {platform.machine()}, torch {torch_versions(runs)}; it did other work meanwhile: times are upper "
        "bounds.",
        "",
    ]
    write_text(PAGE, "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of PSFHS")
    parser.add_argument("--runs", type=Path, default=Path("runs/biometry"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--example", action="store_true", help="only draw the picture of docs/guides/biometry.md")
    options = parser.parse_args()
    if options.example:
        draw_example(options.data)
        return
    plan = Plan(options.data, options.runs, options.size, options.epochs)
    for model in MODELS:
        train_and_evaluate(plan, model)
    draw(plan)
    write_page(plan)
    print(json.dumps({"page": str(PAGE), "picture": str(SHEET)}))


if __name__ == "__main__":
    main()
