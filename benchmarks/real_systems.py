"""Train the published systems on real images at a size two CPU cores afford, and write the results page.

    python benchmarks/real_systems.py --data ../shared/data

Finished runs are kept in ``runs/systems`` and not repeated; the page is written anew from their summaries each time.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import glocal
from _runs import percent, torch_versions, train_and_evaluate
from glocal.data import open_dataset
from glocal.data.contact_sheet import overlay
from glocal.errors import UserError
from glocal.files import read_json, read_text, write_text
from glocal.inference import explain

PAGE = Path("docs/results/systems-real-sets.md")
MASKS = Path("docs/assets/systems-masks.png")
MAPS = Path("docs/assets/systems-maps.png")
TILE = 208


@dataclass(frozen=True)
class Plan:
    """One training: as much as two cores allow for all of them together in about an hour."""

    model: str
    data: str
    recipe: str
    size: int
    epochs: int
    settings: tuple[str, ...] = ()
    folder: str = ""

    @property
    def name(self) -> str:
        """Of its run."""
        return f"{self.data}-{self.folder or self.model}"

    def command(self, data: str, run: Path) -> list[str]:
        """The words after ``glocal``."""
        settings = ["--recipe", self.recipe, "--model", self.model, f"--data.size={self.size}"]
        epochs = f"--train.epochs={self.epochs}"
        return ["train", f"{data}/{self.data}", *settings, epochs, *self.settings, "--output", str(run)]


SHORT = ("--optimizer.lr=0.001", "--train.batch_size=8")
"""The recipes' learning rates and batches are for long trainings, or for pretrained weights."""
SLOWER = ("--optimizer.lr=0.0002", "--train.batch_size=8")
"""For transformers that begin from nothing."""
CROP = "--augment.crop.scale=[0.4, 1.0]"
"""Milder crops than those of long trainings."""
PLANS = [
    Plan("hifuse_micro", "covid_ct", "hifuse", 112, 25, (*SHORT, CROP)),
    Plan("hifuse_micro", "busi", "hifuse", 112, 15, (*SHORT, CROP)),
    Plan("pvt_tiny", "busi", "quick", 112, 15, SLOWER),
    Plan("pvt_tiny_spm", "busi", "quick", 112, 15, SLOWER),
    Plan("dssaunet_tiny", "psfhs", "dssaunet", 128, 8, SHORT),
    Plan("star_dssaunet_tiny", "psfhs", "dssaunet", 128, 8, SHORT),
    Plan("hiperformer_tiny", "acdc", "hiperformer", 128, 40, SHORT),
    Plan("semantic_fpn", "kvasir_seg", "quick", 96, 5, ("--model_args={backbone: pvt_tiny}", *SLOWER), "fpn-pvt_tiny"),
    Plan("semantic_fpn", "kvasir_seg", "quick", 96, 5, SLOWER, "fpn-pvt_tiny_spm"),
]
SHOWN_MASKS = ("psfhs-dssaunet_tiny", "psfhs-star_dssaunet_tiny")
SHOWN_MAPS = ("busi-hifuse_micro", "busi-pvt_tiny", "busi-pvt_tiny_spm")
"""Runs that are drawn, on sets whose terms allow showing images (CC BY and CC0)."""


def common(plan: Plan, run: Path) -> list[str]:
    """The first columns of both tables."""
    splits = read_json(run / "splits.json")["splits"]
    parts = "/".join(str(len(splits[part])) for part in ("train", "val", "test"))
    options = "".join(word for word in plan.settings if word.startswith("--model_args"))
    backbone = f" ({options.partition('=')[2].strip('{}')})" if options else ""
    return [f"`{plan.model}`{backbone}", f"`{plan.data}`", parts, f"{plan.size}²", str(plan.epochs), losses(run)]


def losses(run: Path) -> str:
    """The training loss of the first and of the last epoch."""
    header, *rows = [line.split(",") for line in read_text(run / "metrics.csv").splitlines()]
    column = header.index("train_loss")
    return f"{float(rows[0][column]):.2f} → {float(rows[-1][column]):.2f}"


def minutes(run: Path) -> str:
    return f"{read_json(run / 'manifest.json')['duration_seconds'] / 60:.0f} min"


def mask_row(plan: Plan, run: Path) -> str:
    """One line of the table of segmentations."""
    summary = read_json(run / "evaluation" / "test" / "summary.json")
    classes = summary["per_class"]
    dice, hd95 = (summary["macro"]["foreground"][name] for name in ("dice", "hd95"))
    each = ", ".join(f"{name} {dice_of(facts):.1f}" for name, facts in list(classes.items())[1:])
    distance = f"{hd95['mean']:.1f} {summary['conventions']['unit']}"
    return f"| {' | '.join([*common(plan, run), percent(dice), each, distance, minutes(run)])} |"


def dice_of(facts: dict[str, Any]) -> float:
    """Mean Dice of one class in per cent."""
    return 100 * float(facts["metrics"]["dice"]["mean"])


def class_row(plan: Plan, run: Path) -> str:
    """One line of the table of classifiers."""
    summary = read_json(run / "evaluation" / "test" / "summary.json")
    shown = [
        percent(summary["overall"]["accuracy"], "value"),
        percent(summary["macro"]["f1"], "value"),
        percent(summary["macro"]["auroc"], "value"),
        " → ".join(f"{100 * state['ece']:.1f}" for state in summary["calibration"].values()),
    ]
    return f"| {' | '.join([*common(plan, run), *shown, minutes(run)])} |"


def test_cases(run: Path) -> list[str]:
    """Ids of the test split."""
    ids: list[str] = read_json(run / "splits.json")["splits"]["test"]
    return ids


def tile(picture: Image.Image) -> Image.Image:
    """Fitted into a dark square."""
    square = Image.new("RGB", (TILE, TILE), (24, 24, 24))
    small = picture.convert("RGB")
    small.thumbnail((TILE, TILE))
    square.paste(small, ((TILE - small.width) // 2, (TILE - small.height) // 2))
    return square


def save_sheet(columns: list[list[Image.Image]], path: Path) -> None:
    """Columns of tiles as one picture."""
    sheet = Image.new("RGB", (len(columns) * (TILE + 4) - 4, len(columns[0]) * (TILE + 4) - 4), (24, 24, 24))
    for x, column in enumerate(columns):
        for y, image in enumerate(column):
            sheet.paste(image, (x * (TILE + 4), y * (TILE + 4)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(224).save(path, optimize=True)


def draw_masks(runs: Path, data: str) -> None:
    """Test images of the pelvis: the image, its truth, and what each network says."""
    dataset = open_dataset(f"{data}/psfhs", task="segmentation")
    predictors = [glocal.load(runs / name) for name in SHOWN_MASKS]
    ids = test_cases(runs / SHOWN_MASKS[0])
    columns = []
    for case in [dataset.case(ids[k * len(ids) // 5]) for k in range(5)]:
        picture, truth = dataset.read_image(case), dataset.read_label(case)
        masks = [np.zeros_like(truth), truth, *(predictor(case.image).mask for predictor in predictors)]
        columns.append([tile(Image.fromarray(overlay(picture, mask, TILE))) for mask in masks])
    save_sheet(columns, MASKS)


def draw_maps(runs: Path, data: str) -> None:
    """Test images of the breast: the lesion, and what the class that each classifier predicts is activated by."""
    truth = open_dataset(f"{data}/busi", task="segmentation")
    classifiers = [glocal.load(runs / name) for name in SHOWN_MAPS]
    ids = [i for i in test_cases(runs / SHOWN_MAPS[0]) if truth.read_label(truth.case(i)).any()]
    columns = []
    for case in [truth.case(ids[k * len(ids) // 5]) for k in range(5)]:
        picture = truth.read_image(case)
        lesion = Image.fromarray(overlay(picture, truth.read_label(case), TILE))
        columns.append([tile(lesion), *(tile(explain(c, case.image).overlay()) for c in classifiers)])
    save_sheet(columns, MAPS)


def write_page(runs: Path, done: list[Plan]) -> None:
    """The results page, from what the runs left on disk."""
    commands = [plan.command("DATA", Path("runs/systems") / plan.name) for plan in done]
    tasks = {plan.name: read_json(runs / plan.name / "model" / "model.json")["task"] for plan in done}
    head = ("network", "set", "train/val/test", "size", "epochs", "training loss")
    masks = (*head, "Dice, foreground, per image, % (95 % CI)", "Dice by class, %", "HD95", "training")
    classes = (*head, "accuracy, %", "macro F1, %", "macro AUROC, %", "ECE, % (as trained → calibrated)", "training")
    lines = [
        "# The published systems on real images, on two CPU cores",
        "",
        "Written by `python benchmarks/real_systems.py --data DATA`; not edited by hand.",
        "The variants are the small ones made for two cores (except PVT), trained from nothing, for a few epochs, on "
        "reduced samples of the collections. **This shows that the whole way works for each system on real files, "
        "with a falling loss. It does not rank them**: some of the classifiers are hardly better than chance after so "
        "short a training, and nothing here compares with published figures.",
        "",
        "## Segmentation",
        "",
        f"| {' | '.join(masks)} |",
        f"|{'---|' * len(masks)}",
        *(mask_row(plan, runs / plan.name) for plan in done if tasks[plan.name] == "segmentation"),
        "",
        f"![Image, truth and predictions](../assets/{MASKS.name})",
        "",
        f"*Test images of PSFHS (CC BY 4.0, Chen et al. 2024); rows: image, truth, {', '.join(SHOWN_MASKS)}.*",
        "",
        "## Classification",
        "",
        f"| {' | '.join(classes)} |",
        f"|{'---|' * len(classes)}",
        *(class_row(plan, runs / plan.name) for plan in done if tasks[plan.name] == "classification"),
        "",
        f"![Lesion and class-activation maps](../assets/{MAPS.name})",
        "",
        f"*Test images of BUSI (CC0, Al-Dhabyani et al. 2020); rows: the lesion as drawn by the makers, then Grad-CAM "
        f"(`glocal explain`) of the predicted class for {', '.join(SHOWN_MAPS)}. What such a map shows and what it "
        "does not prove is said in [Explain](../guides/explain.md). These classifiers learned little in so short a "
        "time, and their maps show it: they seldom look at the lesion.*",
        "",
        "`covid_ct` has the split its makers published; `busi` and `kvasir_seg` are split by near-duplicates, `psfhs` "
        "by groups of like frames, `acdc` by patient; seed 0. The best epoch is that of the validation split; the test "
        "split was measured once, at the images' own size. Intervals are bootstrap percentiles over groups. The "
        "machine did other work meanwhile: the times are upper bounds.",
        "",
        "The commands:",
        "",
        "```console",
        *(f"$ glocal {shlex.join(words)}" for words in commands),
        "```",
        "",
        f"Machine: {platform.machine()}, 2 cores, one thread a training, torch "
        f"{torch_versions(runs / plan.name for plan in done)}.",
        "",
    ]
    write_text(PAGE, "\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of the sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/systems"))
    parser.add_argument("--only", nargs="*", default=[p.name for p in PLANS], choices=[p.name for p in PLANS])
    options = parser.parse_args()
    for plan in PLANS:
        if plan.name not in options.only:
            continue
        try:
            train_and_evaluate(plan.command(options.data, options.runs / plan.name), options.runs / plan.name)
        except UserError as error:
            raise SystemExit(f"{plan.name}: {error}") from None
    done = [plan for plan in PLANS if (options.runs / plan.name / "evaluation" / "test" / "summary.json").exists()]
    if len(done) < len(PLANS):
        print(f"{len(PLANS) - len(done)} runs are missing; the page is written when all are there")
        return
    draw_masks(options.runs, options.data)
    draw_maps(options.runs, options.data)
    write_page(options.runs, done)
    print(json.dumps({"page": str(PAGE), "pictures": [str(MASKS), str(MAPS)]}))


if __name__ == "__main__":
    main()
