"""``glocal measure``: biometry of masks, or of images through a trained run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.cli.predict import refuse_bad, told
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.inference.measuring.measuring import MeasuredFrame

EXAMPLES = """
glocal measure aop masks/                                    # AoP and HSD of every mask
glocal measure aop psfhs --output measured                   # a data set: tables, and pictures on its images
glocal measure aop masks/ --images frames/ --output measured # masks of any program, drawn on their images
glocal measure aop masks/ --labels 0 127 255 --side right    # other label values; the symphysis is on the right
glocal measure aop masks/ --method iugc2024 --json | jq .frames[0].aop
glocal measure aop --run runs/psfhs images/ --output measured --spacing 0.27
glocal measure aop --run runs/psfhs sweep.dcm --interval views --output measured   # frames of a cine: curve, best frame
glocal measure aop --run runs/psfhs sweep/ --cine --output measured                # a folder of frames in order
"""

_SHOWN = 20
"""Frames at most that are printed one by one."""


def _parser() -> Parser:
    parser = Parser(
        "measure",
        "Measure the angle of progression (AoP, degrees) and the head-symphysis distance (HSD) in frames of "
        "transperineal ultrasound: in masks of pubic symphysis and fetal head, or in images segmented by a run. With "
        "--output: measurements.csv, measurements.json, a picture of each frame, and the curve of a sequence.",
        EXAMPLES,
    )
    parser.add_argument("what", type=Literal["aop"], metavar="aop", help="what is measured: AoP and HSD")
    parser.add_argument(
        "inputs", type=str, nargs="+", metavar="INPUT", help="masks, folders of them or a data set; with --run: images"
    )
    parser.add_argument("--run", type=str, metavar="RUN", help="run or model folder that segments the inputs first")
    parser.add_argument("--images", type=str, metavar="DIR", help="images of the masks, by the same names, to draw on")
    parser.add_argument(
        "--method",
        type=Literal["ellipse", "iugc2024", "fh_ps_aop"],
        default="ellipse",
        help="ellipse (recommended), or a challenge's evaluator exactly",
    )
    parser.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM", help="size of a pixel in mm, or its height and width"
    )
    parser.add_argument(
        "--side", type=Literal["left", "right"], default="left", help="where the symphysis is seen in the images"
    )
    parser.add_argument(
        "--labels", type=int, nargs=3, metavar=("BG", "PS", "FH"), help="mask values of background, symphysis and head"
    )
    parser.add_argument(
        "--interval",
        type=Literal["thresholds", "views", "none"],
        default="thresholds",
        help="with --run, range of AoP over outlines at several probabilities; views: also over flips and gammas",
    )
    parser.add_argument("--cine", action="store_true", help="the inputs are frames of one sequence, in natural order")
    parser.add_argument("--window", type=int, default=9, help="frames of the smoothing of a sequence, odd")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--output", type=str, metavar="DIR", help="folder for tables and pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--json", action="store_true", help="print measurements.json, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal measure``.

    Raises:
        UserError: Nothing could be begun; or, after all good frames are measured, some could not be read.
    """
    given = _parser().parse_args(arguments)
    import numpy as np

    from glocal.biometry import measure_aop, smooth
    from glocal.inference.files import require_folder, require_free
    from glocal.inference.measuring.frames import find_frames
    from glocal.inference.measuring.measuring import picture_path

    if given.run is not None and (given.images is not None or given.labels is not None):
        raise UserError("--images and --labels go with masks; with --run the inputs are the images themselves")
    if given.spacing is not None and len(given.spacing) > 2:
        raise UserError("--spacing takes one length in mm, or two: height and width of a pixel")
    measure_aop(np.zeros((2, 2), np.uint8), **_options(given))  # refuses what no frame could be measured with
    smooth([], given.window)
    output = None if given.output is None else Path(given.output)
    frames, paged = find_frames(given.inputs, output or Path("measured"), images=given.images, masks=given.run is None)
    files = []
    if output is not None:
        require_folder(output, "measurements")
        names = ("measurements.csv", "measurements.json", *(["curve.png"] if paged or given.cine else []))
        files = [output / name for name in names]
        pictures = [picture_path(output, frame) for frame in frames]
        read = [path for frame in frames for path in (frame.path, frame.image) if path is not None]
        require_free(read, [*files, *pictures], "measurement", given.overwrite)
    results = list(told(_measured(given, frames, output), len(frames), "measuring"))
    report = _report(given, results, paged or given.cine, output)
    if given.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report)
        if output is not None:
            print(f"tables and pictures: {output}")
    refuse_bad(results, "measurement", str(output or "the list above"))


def _options(given: Any) -> dict[str, Any]:
    """How every frame is measured."""
    spacing = given.spacing[0] if given.spacing is not None and len(given.spacing) == 1 else given.spacing
    return {"method": given.method, "symphysis_side": given.side, "spacing": spacing}


def _measured(given: Any, frames: Sequence[Any], output: Path | None) -> Any:
    from glocal.inference.measuring.measuring import measure_images, measure_masks

    options = {**_options(given), "output": output}
    if given.run is None:
        from glocal.inference.measuring.labels import find_labels

        labels = find_labels([(frame.path, frame.page) for frame in frames], given.labels)
        return measure_masks(frames, labels, **options)
    import logging

    from glocal.inference import Predictor
    from glocal.inference.measuring.interval import structures_of

    predictor = Predictor.load(given.run, device=given.device)
    note = structures_of(predictor.classes)[1]
    if note is not None:
        logging.getLogger("glocal").warning("%s", note)
    return measure_images(frames, predictor, spread=given.interval, **options)


def _report(given: Any, results: Sequence[MeasuredFrame], cine: bool, output: Path | None) -> dict[str, Any]:
    """The content of ``measurements.json``, which is written with the rest where there is a folder."""
    from glocal.biometry import HSD_OF, CineMeasurement
    from glocal.files import write_json
    from glocal.inference.measuring.writing import cine_facts, facts_of, write_curve, write_table

    frames = [facts_of(result) for result in results]
    good = [result for result in results if result.measurement is not None]
    curve = CineMeasurement.of([r.measurement for r in good if r.measurement], given.window) if cine and good else None
    report: dict[str, Any] = {
        "format": 1,
        "method": given.method,
        "hsd": list(HSD_OF[given.method]),
        "symphysis_side": given.side,
        "run": given.run,
        "interval": given.interval if given.run is not None else "none",
        "frames": frames,
        "cine": None if curve is None else cine_facts(curve, [result.frame.id for result in good]),
    }
    if output is not None:
        write_table(output / "measurements.csv", frames, curve)
        write_json(output / "measurements.json", report)
        if curve is not None:
            write_curve(output / "curve.png", curve, results)
    return report


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    kinds = " and ".join(report["hsd"])
    print(f"method {report['method']}: AoP in degrees; HSD {kinds}; symphysis on the {report['symphysis_side']}")
    good = [facts for facts in report["frames"] if facts["error"] is None]
    shown = good[:_SHOWN]
    table = Table(box=None, pad_edge=False)
    ranged = report["interval"] != "none"
    for name in ("frame", "AoP", *(["range"] if ranged else []), *(f"HSD {kind}" for kind in report["hsd"]), "remarks"):
        table.add_column(name, justify="left" if name in ("frame", "remarks") else "right")
    for facts in shown:
        ends = [_number(facts["aop_low"]) + "–" + _number(facts["aop_high"])] if ranged else []
        remarks = ", ".join(dict.fromkeys((*facts["reasons"], *facts["flags"]))).replace("_", " ")
        distances = [_distance(facts, kind) for kind in report["hsd"]]
        table.add_row(facts["frame"], _number(facts["aop"]), *ends, *distances, remarks)
    if shown:
        console.print(table, markup=False)
    if len(good) > len(shown):
        print(f"… and {counted(len(good) - len(shown), 'more frame')}")
    _print_summary(good)
    if report["cine"]:
        for key, what in (("largest", "largest AoP"), ("largest_smoothed", "largest on the smoothed curve")):
            if report["cine"][key]:
                print(f"{what}: {report['cine'][key]['aop']:.1f}° in {report['cine'][key]['frame']}")


def _print_summary(good: Sequence[dict[str, Any]]) -> None:
    """How many could be measured, and why others could not."""
    angles = [facts["aop"] for facts in good if facts["aop"] is not None]
    if len(good) > 1:
        spread = f", {min(angles):.1f}° to {max(angles):.1f}°" if angles else ""
        print(f"AoP in {len(angles)} of {counted(len(good), 'frame')}{spread}")
    from glocal.biometry import REASONS

    for reason, count in Counter(reason for facts in good for reason in facts["reasons"]).most_common():
        print(f"{counted(count, 'frame')}: {REASONS[reason]}")
    if good and all(facts["spacing"] is None for facts in good):
        print("distances in pixels: the size of a pixel is not known (--spacing MM)")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _distance(facts: dict[str, Any], kind: str) -> str:
    for unit in ("mm", "px"):
        if facts[f"hsd_{kind}_{unit}"] is not None:
            return f"{facts[f'hsd_{kind}_{unit}']:.1f} {unit}"
    return "–"
