"""Train LM-Net on real segmentation sets at a size two CPU cores afford, evaluate, and write the results page.

    python benchmarks/real_sets.py --data ../shared/data

Finished runs are kept in ``runs/real`` and not repeated; the page is written anew from their summaries each time.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
from PIL import Image

import glocal
from _runs import percent, torch_versions, train_and_evaluate
from glocal.cli import main
from glocal.data import open_dataset
from glocal.data.contact_sheet import overlay
from glocal.errors import UserError
from glocal.files import read_json, write_text

PLAN = {
    "hc18_fetal_head": (128, 40),
    "isic_skin": (128, 25),
    "shenzhen_cxr": (128, 25),
    "kvasir_seg": (96, 5),
    "busi": (96, 6),
    "psfhs": (96, 3),
}
"""Side of the training images and passes over them: what two cores allow for all sets together in about an hour."""
SETTINGS = ["--recipe", "quick", "--model", "lmnet"]
SHOWN = {"hc18_fetal_head": 1, "isic_skin": 1, "busi": 2, "psfhs": 2}
"""Test cases drawn, from the sets whose terms allow showing images (CC0 and CC BY)."""
PICTURE = Path("docs/assets/overview.png")
PAGE = Path("docs/results/lmnet-real-sets.md")
TILE = 208


def command(name: str, data: str, run: Path) -> list[str]:
    """The words after ``glocal`` that train and evaluate on one set."""
    size, epochs = PLAN[name]
    settings = [*SETTINGS, f"--data.size={size}", f"--train.epochs={epochs}"]
    return ["train", f"{data}/{name}", *settings, "--output", str(run)]


def run_set(name: str, data: str, run: Path) -> None:
    """Train (or go on) and evaluate, at the images' own size and as the paper's preset does."""
    train_and_evaluate(command(name, data, run), run)
    if not (run / "evaluation" / "test-lmnet").exists() and main(["evaluate", str(run), "--preset", "lmnet"]):
        raise SystemExit(f"{name}: evaluation by the paper's preset failed")


def row(name: str, run: Path) -> str:
    """One line of the table."""
    summary = read_json(run / "evaluation" / "test" / "summary.json")
    splits = read_json(run / "splits.json")["splits"]
    manifest = read_json(run / "manifest.json")
    dice, hd95 = summary["macro"]["foreground"]["dice"], summary["macro"]["foreground"]["hd95"]
    pooled = summary["pooled"]["macro"]["with_background"]["dice"]["value"]
    parts = "/".join(str(len(splits[part])) for part in ("train", "val", "test"))
    size, epochs = PLAN[name]
    groups = summary["groups"] or "unknown"
    return (
        f"| `{name}` | {parts} | {groups} | {size}² | {epochs} | {percent(dice)} | {100 * pooled:.1f} | "
        f"{hd95['mean']:.1f} {summary['conventions']['unit']} | {manifest['duration_seconds'] / 60:.0f} min |"
    )


def draw(runs: Path, data: str) -> None:
    """A strip of test images: the image, its truth, the prediction."""
    columns = []
    for name, count in SHOWN.items():
        run = runs / name
        if not (run / "model" / "model.json").exists():
            continue
        dataset, predictor = open_dataset(f"{data}/{name}"), glocal.load(run)
        test = read_json(run / "splits.json")["splits"]["test"]
        shown = [i for i in test if dataset.read_label(dataset.case(i)).any()]
        for case in [dataset.case(shown[k * len(shown) // count]) for k in range(count)]:
            picture = dataset.read_image(case)
            truth, prediction = dataset.read_label(case), predictor(case.image).mask
            images = [overlay(picture, label, TILE) for label in (np.zeros_like(truth), truth, prediction)]
            columns.append([Image.fromarray(i).convert("RGB").resize((TILE, TILE)) for i in images])
    sheet = Image.new("RGB", (len(columns) * (TILE + 4) - 4, 3 * (TILE + 4) - 4), (24, 24, 24))
    for x, column in enumerate(columns):
        for y, tile in enumerate(column):
            sheet.paste(tile, (x * (TILE + 4), y * (TILE + 4)))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(192).save(PICTURE, optimize=True)


def write_page(runs: Path, data: str) -> None:
    """The results page, from what the runs left on disk."""
    done = [name for name in PLAN if (runs / name / "evaluation" / "test" / "summary.json").exists()]
    example = " ".join(command("busi", "DATA", Path("runs/real/busi")))
    lines = [
        "# LM-Net on real images, on two CPU cores",
        "",
        "Written by `python benchmarks/real_sets.py --data DATA`; not edited by hand.",
        f"Each set is trained with `glocal {example}`",
        "(with the size and the epochs of the table): LM-Net as published, the recipe `quick`. "
        "This is a check that the whole way works on real files, at a size and length for two cores — not a benchmark "
        "of the network: the collections are reduced samples, so nothing here compares with published figures.",
        "",
        "![Image, truth and prediction](../assets/overview.png)",
        "",
        "*Test images; rows: image, truth, prediction. From HC18 (CC BY 4.0, van den Heuvel et al. 2018), "
        "ISIC (CC0), BUSI (CC0, Al-Dhabyani et al. 2020) and PSFHS (CC BY 4.0, Chen et al. 2024).*",
        "",
        "| set | train/val/test | test groups | size | epochs | Dice, foreground, per image, % (95 % CI) | "
        "mDice, pooled, with background, % | HD95 | training |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(name, runs / name) for name in done),
        "",
        "Split by group where groups are known, stratified, seed 0. Measured at the images' own size on the test "
        "split, which nothing was chosen on. Empty masks by the policy `penalty` (see "
        "[what the numbers mean](../evaluation.md)): on a healthy image any foreground costs the worst score, "
        "none leaves the image out. The pooled mDice is the convention of the LM-Net paper.",
        "",
        f"Machine: {platform.machine()}, 2 cores, torch {torch_versions(runs / name for name in done)}.",
        "",
    ]
    write_text(PAGE, "\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/real"))
    parser.add_argument("--sets", nargs="*", default=list(PLAN), choices=list(PLAN))
    options = parser.parse_args()
    for each in options.sets:
        try:
            run_set(each, options.data, options.runs / each)
        except UserError as error:
            raise SystemExit(f"{each}: {error}") from None
    draw(options.runs, options.data)
    write_page(options.runs, options.data)
    print(json.dumps({"page": str(PAGE), "picture": str(PICTURE)}))
