"""``glocal explain``: draw where in images the scores of classes come from."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from glocal.cli._parser import Parser
from glocal.cli.predict import refuse_bad, told
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.inference.explanation.files import ExplainedFile

__all__ = ["run"]

EXAMPLES = """
glocal explain runs/lesions image.png --output why                  # a classifier: its predicted class
glocal explain runs/lesions images/ --output why --class malignant
glocal explain runs/lesions images/ --output why --method ablation  # without gradients
glocal explain runs/hifuse images/ --output why --maps local        # of HiFuse: the convolutional branch
glocal explain runs/polyps images/ --output why --level 2           # a segmentation, another feature map
glocal explain runs/star images/ --output routes --method routing   # of DSSA and STAR-DSSA: where regions look
glocal explain runs/polyps images/ --output maps --class polyp --map-only npy
"""


def _parser() -> Parser:
    parser = Parser(
        "explain",
        "Draw where in images the score of a class comes from: a class-activation map over each image, that of x.jpg "
        "in DIR/x.png. A classifier's predicted class is explained, of a segmentation each class that it finds. Such "
        "maps show what a score depends on; they do not prove that the network is right.",
        EXAMPLES,
    )
    parser.add_argument("run", type=str, metavar="RUN", help="run folder, or model folder")
    parser.add_argument("inputs", type=str, nargs="+", metavar="INPUT", help="image files, and folders of them")
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument(
        "--method",
        type=Literal["gradcam", "ablation", "routing"],
        default="gradcam",
        help="gradcam: a feature map weighted by gradients; ablation: how much the score falls without a part of it; "
        "routing: of a network with DSSA or STAR-DSSA, no class but which regions attention goes to, and its saliency",
    )
    parser.add_argument("--class", type=str, metavar="NAME", help="the class to explain, predicted or not")
    parser.add_argument(
        "--level", type=int, default=-1, help="which feature map: from 0, the finest, or from -1, the deepest"
    )
    parser.add_argument(
        "--maps",
        type=Literal["fused", "local", "global"],
        default="fused",
        help="of a network with two branches (HiFuse): its fused maps, or those of one branch",
    )
    parser.add_argument("--alpha", type=float, default=0.6, help="opacity of the map where it is highest, 0 to 1")
    parser.add_argument(
        "--map_only", type=Literal["npy", "png"], help="write the map alone: float32 in 0 to 1, or 16-bit grey"
    )
    parser.add_argument(
        "--at",
        type=str,
        default="0.5,0.5",
        metavar="ROW,COLUMN",
        help="routing: of the region here, in shares of 0 to 1",
    )
    parser.add_argument("--every_block", action="store_true", help="routing: of every block, not the last of a level")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="threads on a CPU")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal explain``.

    Raises:
        UserError: Nothing could be begun, or, after all good images are explained, some could not be read.
    """
    given = _parser().parse_args(arguments)
    _refuse_what_does_not_go(given)
    point = _point(given.at)
    from glocal.inference import load_predictor
    from glocal.inference.explanation.files import explain_files, route_files
    from glocal.inference.files import plan_outputs, require_free

    predictor = load_predictor(given.run, device=given.device, threads=given.threads, deploy=False)
    what, suffix = ("map", f".{given.map_only}") if given.map_only else ("picture", ".png")
    outputs = plan_outputs(given.inputs, Path(given.output), what, suffix)
    require_free(list(outputs.values()), list(outputs), what, given.overwrite)
    if given.method == "routing":
        results = route_files(predictor, outputs, at=point, every_block=given.every_block)
    else:
        results = explain_files(
            predictor,
            outputs,
            target=given["class"],
            method=given.method,
            level=given.level,
            maps=given.maps,
            alpha=given.alpha,
            map_only=given.map_only,
        )
    done = list(told(results, len(outputs), "explaining"))
    if given.json:
        print(json.dumps([_facts(result, given.method) for result in done], indent=2, ensure_ascii=False))
    else:
        _print_summary(done, what, given.output)
    refuse_bad(done, what, given.output)


def _refuse_what_does_not_go(given: Any) -> None:
    routing = given.method == "routing"
    usual = _parser().get_defaults()
    for name in ("class", "level", "maps", "alpha", "map_only") if routing else ("at", "every_block"):
        if given[name] != usual[name]:
            verb = "does not go" if routing else "goes"
            raise UserError(f"--{name} {verb} with --method routing; leave it out")


def _point(text: str) -> tuple[float, float]:
    try:
        row, column = (float(number) for number in text.split(","))
    except ValueError:
        raise UserError(
            f"at is {text!r}; give a row and a column in shares of 0 to 1, such as 0.5,0.25 (--at)"
        ) from None
    return row, column


def _facts(result: ExplainedFile, method: str) -> dict[str, Any]:
    if result.error is not None:
        return {"image": str(result.image), "error": result.error}
    return {
        "image": str(result.image),
        "output": None if result.output is None else str(result.output),
        "method": method,
        "classes": dict(result.classes),
        "notes": list(result.notes),
    }


def _print_summary(done: Sequence[ExplainedFile], what: str, output: str) -> None:
    for note, count in Counter(note for result in done for note in result.notes).most_common():
        print(f"{counted(count, 'image')}: {note}", file=sys.stderr)
    written = [result for result in done if result.output is not None]
    if written:
        names = Counter(name for result in written for name, _ in result.classes)
        of = ": " + ", ".join(f"{number} of {name}" for name, number in names.items()) if names else ""
        print(f"{counted(len(written), what)} in {output}{of}")
    elif all(result.error is None for result in done):
        print(f"no {what} made")
