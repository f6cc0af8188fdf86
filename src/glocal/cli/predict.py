"""``glocal predict``: segment images with a trained run."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.inference.files import FileResult

log = logging.getLogger("glocal")

EXAMPLES = """
glocal predict runs/polyps image.jpg --output masks
glocal predict runs/polyps images/ more/*.png --output masks --overlay
glocal predict runs/polyps/model slide.tif --output masks --tiling always
glocal predict runs/polyps images/ --output masks --tta --probabilities --json
glocal predict runs/polyps --output masks -- -odd-name.png
"""


def _parser() -> Parser:
    parser = Parser(
        "predict",
        "Segment images with a trained run. The mask of x.jpg is DIR/x.png, an indexed PNG of the size of the upright "
        "image: the value of a pixel is its class. Folders are searched with their sub-folders, which are kept.",
        EXAMPLES,
    )
    parser.add_argument("run", type=str, metavar="RUN", help="run folder, or model folder")
    parser.add_argument("inputs", type=str, nargs="+", metavar="INPUT", help="image files, and folders of them")
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="folder for the masks")
    parser.add_argument("--overlay", action="store_true", help="also draw the masks on the images, in DIR/overlays")
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write class probabilities (float16 .npz), in DIR/probabilities",
    )
    parser.add_argument("--tta", action="store_true", help="average over the flips that training had: slower, steadier")
    parser.add_argument(
        "--tta_views",
        type=Literal["mirror", "flips", "rotations"],
        help="average over left and right (2 views), all flips (4) or quarter turns, too (8), whatever training had",
    )
    parser.add_argument(
        "--tiling",
        type=Literal["auto", "never", "always"],
        default="auto",
        help="images larger than the training size: cut into windows (always), stretched whole as in training (never), "
        "or what the model was made for (auto)",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="threads on a CPU")
    parser.add_argument("--batch_size", type=int, help="images the network sees at once (1 on a CPU, else 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace masks that are there")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal predict``.

    Raises:
        UserError: Nothing could be begun, or, after all good images are predicted, some could not be read.
    """
    given = _parser().parse_args(arguments)
    from glocal.inference import Predictor, plan_files, predict_files

    jobs = plan_files(
        given.inputs,
        given.output,
        overlay=given.overlay,
        probabilities=given.probabilities,
        overwrite=given.overwrite,
    )
    predictor = Predictor.load(given.run, device=given.device, threads=given.threads)
    start = time.perf_counter()
    results = predict_files(
        predictor,
        jobs,
        tta=given.tta_views or given.tta,
        tiling=given.tiling,
        batch_size=given.batch_size,
    )
    done = list(_told(results, len(jobs)))
    seconds = time.perf_counter() - start
    if given.json:
        print(json.dumps([_facts(result, predictor.classes) for result in done], indent=2, ensure_ascii=False))
    else:
        _print_summary(done, Path(given.output), predictor.classes, seconds, predictor.network_seconds)
    _refuse_bad(done, given.output)


def _told(results: Iterator[FileResult], total: int) -> Iterator[FileResult]:
    """The results as they come, with a bar where someone is looking, and errors said at once."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for result in bar.track(results, total, description="predicting"):
            if result.error is not None and total > 1:
                bar.console.out(f"glocal: {result.error}", highlight=False)
            yield result


def _print_summary(
    done: Sequence[FileResult], output: Path, classes: Sequence[str], seconds: float, network: float
) -> None:
    good = [result for result in done if result.error is None]
    for note, count in Counter(note for result in good for note in result.notes).most_common():
        print(f"{counted(count, 'image')}: {note}", file=sys.stderr)
    if good:
        share = f"{100 * network / seconds:.0f} % of it in the network"
        print(f"{counted(len(good), 'mask')} in {output} ({seconds:.1f} s, {share})")
        print("values: " + ", ".join(f"{index} {name}" for index, name in enumerate(classes)))


def _facts(result: FileResult, classes: Sequence[str]) -> dict[str, Any]:
    job = result.job
    if result.error is not None:
        return {"image": str(job.image), "error": result.error}
    return {
        "image": str(job.image),
        "mask": str(job.mask),
        "overlay": None if job.overlay is None else str(job.overlay),
        "probabilities": None if job.probabilities is None else str(job.probabilities),
        "size": list(result.size or ()),
        "pixels": dict(zip(classes, result.pixels, strict=True)),
        "notes": list(result.notes),
    }


def _refuse_bad(done: Sequence[FileResult], output: str) -> None:
    bad = [result for result in done if result.error is not None]
    if not bad:
        return
    if len(done) == 1:
        raise UserError(bad[0].error)
    rest = f"the masks of the other {len(done) - len(bad)} are in {output}" if len(bad) < len(done) else "no mask made"
    raise UserError(f"{len(bad)} of {len(done)} images could not be read, as said above; {rest}")
