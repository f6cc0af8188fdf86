"""``glocal predict``: segment or classify images with a trained run."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from glocal.cli._parser import Parser
from glocal.cli._predict_volumes import (
    add_volume_options,
    print_volumes,
    refuse_idle_options,
    refuse_volume_options,
    segment_volumes,
    volume_facts,
)
from glocal.errors import UserError, counted

if TYPE_CHECKING:
    from glocal.inference import ClassifiedFile, Classifier, FileResult, Predictor

__all__ = ["refuse_bad", "run", "told"]

EXAMPLES = """
glocal predict runs/polyps image.jpg --output masks
glocal predict runs/polyps images/ more/*.png --output masks --overlay
glocal predict runs/polyps/model slide.tif --output masks --tiling always
glocal predict runs/polyps images/ --output masks --tta --probabilities --json
glocal predict runs/organs scan.nii.gz --output organs.nii.gz   # a volume, slice by slice
glocal predict runs/organs dicom/ --output seg.dcm              # a DICOM series, as DICOM SEG
glocal predict runs/organs patients/ --output masks --series all --format seg
glocal predict runs/lesions images/ --output lesions.csv        # a classifier
glocal predict runs/polyps --output masks -- -odd-name.png
"""

_SHOWN = 10
"""Images at most whose classes are printed one by one."""


class Outcome(Protocol):
    """What became of one image, as far as the next two functions must know."""

    @property
    def error(self) -> str | None:
        """Why nothing came of it: one line."""


R = TypeVar("R", bound=Outcome)


def _parser() -> Parser:
    parser = Parser(
        "predict",
        "Segment or classify images with a trained run. Of a segmentation, the mask of x.jpg is OUT/x.png, an "
        "indexed PNG of the size of the upright image: a pixel holds its class. That of a volume is a NIfTI (or "
        "MetaImage, or DICOM segmentation) in the geometry of its file, and OUT/volumes.csv says how large every "
        "class is. A classifier writes a table, OUT.csv: image, prediction, probability, and the probability of each "
        "class. Folders are searched with their sub-folders, which are kept; one that holds DICOM files is a series.",
        EXAMPLES,
    )
    parser.add_argument("run", type=str, metavar="RUN", help="run folder, or model folder")
    parser.add_argument("inputs", type=str, nargs="+", metavar="INPUT", help="images, volumes, DICOM; and folders")
    parser.add_argument(
        "--output",
        type=str,
        required=True,
        metavar="OUT",
        help="folder for the masks; of one volume also a file (.nii.gz, .mha, .dcm); of a classifier: a .csv file",
    )
    parser.add_argument(
        "--overlay",
        action="store_true",
        help="also draw the masks on the images, in OUT/overlays (of a volume its middle slice)",
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="also write class probabilities (float16 .npz; of volumes .npy), in OUT/probabilities",
    )
    parser.add_argument(
        "--postprocess",
        type=Literal["model", "none"],
        default="model",
        help="what is mended in masks at the end: what the model has chosen on validation, or nothing",
    )
    add_volume_options(parser)
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
        "or what the model was made for (auto); a classifier sees images whole",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=int, help="threads on a CPU")
    parser.add_argument("--batch_size", type=int, help="images or slices at once (1 on a CPU, else 8)")
    parser.add_argument("--overwrite", action="store_true", help="replace masks or the table that are there")
    parser.add_argument("--skip_existing", action="store_true", help="leave out images that have a mask already")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON, alone on stdout")
    return parser


def run(arguments: list[str]) -> None:
    """Run the command with the words after ``glocal predict``.

    Raises:
        UserError: Nothing could be begun, or, after all good images are predicted, some could not be read.
    """
    given = _parser().parse_args(arguments)
    from glocal.inference import Predictor, load_predictor

    predictor = load_predictor(given.run, device=given.device, threads=given.threads)
    if isinstance(predictor, Predictor):
        _segment(predictor, given)
    else:
        _classify(predictor, given)


def _segment(predictor: Predictor, given: Any) -> None:
    from glocal.inference import predict_files
    from glocal.inference.postprocessing import Postprocessing
    from glocal.inference.volumes import plan_masks

    if given.overwrite and given.skip_existing:
        raise UserError("--overwrite and --skip_existing contradict each other; leave one of them out")
    if given.postprocess == "none":
        predictor.postprocessing = Postprocessing()
    pictures, volumes = plan_masks(
        given.inputs,
        given.output,
        **{name: given[name] for name in ("format", "overlay", "probabilities", "series", "key")},
        overwrite=given.overwrite,
        skip_existing=given.skip_existing,
    )
    refuse_idle_options(given, volumes)
    seen = {"tta": given.tta_views or given.tta, "tiling": given.tiling, "batch_size": given.batch_size}
    start = time.perf_counter()
    done = list(told(predict_files(predictor, pictures, **seen), len(pictures)))
    of_volumes = segment_volumes(predictor, volumes, given, seen) if volumes else []
    seconds = time.perf_counter() - start
    good = [result for result in done if result.error is None]
    if given.json:
        facts = [_mask_facts(result, predictor.classes) for result in done]
        _print_json([*facts, *(volume_facts(result, predictor.classes) for result in of_volumes)])
    else:
        _print_notes(result.notes for result in good)
        print_volumes(of_volumes, predictor.classes)
        whole = len(good) + sum(result.error is None for result in of_volumes)
        if not done and not of_volumes:
            print(f"every image has its mask in {given.output} already")
        if whole:
            print(f"{counted(whole, 'mask')} in {given.output} ({_times(seconds, predictor.network_seconds)})")
            print("values: " + ", ".join(f"{index} {name}" for index, name in enumerate(predictor.classes)))
    refuse_bad([*done, *of_volumes], "mask", given.output)


def _classify(classifier: Classifier, given: Any) -> None:
    from glocal.inference import classify_files, plan_table

    if given.tiling == "always":
        raise UserError("--tiling always: a classifier sees every image whole; leave it out")
    for name, cure in (("overlay", "`glocal explain` draws maps"), ("probabilities", "the table has them")):
        if given[name]:
            raise UserError(f"--{name} goes with a segmentation, and {given.run} is a classifier: {cure}")
    refuse_volume_options(given, _parser().get_defaults())
    images = plan_table(given.inputs, given.output, overwrite=given.overwrite)
    start = time.perf_counter()
    results = classify_files(
        classifier, images, given.output, tta=given.tta_views or given.tta, batch_size=given.batch_size
    )
    done = list(told(results, len(images)))
    seconds = time.perf_counter() - start
    if given.json:
        _print_json([_class_facts(result, classifier.classes) for result in done])
    else:
        good = [result for result in done if result.error is None]
        _print_notes(result.notes for result in good)
        _print_classes(good, classifier.classes)
        if good:
            print(f"{counted(len(good), 'image')} in {given.output} ({_times(seconds, classifier.network_seconds)})")
    refuse_bad(done, "prediction", given.output)


def told(results: Iterator[R], total: int, what: str = "predicting") -> Iterator[R]:
    """The results as they come, with a bar where someone is looking, and errors said at once."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        for result in bar.track(results, total, description=what):
            if result.error is not None and total > 1:
                bar.console.out(f"glocal: {result.error}", highlight=False)
            yield result


def _times(seconds: float, network: float) -> str:
    return f"{seconds:.1f} s, {100 * network / seconds:.0f} % of it in the network"


def _print_notes(notes: Iterator[tuple[str, ...]]) -> None:
    for note, count in Counter(note for one in notes for note in one).most_common():
        print(f"{counted(count, 'image')}: {note}", file=sys.stderr)


def _print_classes(good: Sequence[ClassifiedFile], classes: Sequence[str]) -> None:
    """Of a few images each, of many how often each class was predicted."""
    if len(good) <= _SHOWN:
        for result in good:
            print(f"{result.image}: {_said(result.prediction) or 'none'} ({result.probability:.3f})")
        return
    names = Counter(name for result in good for name in _names(result.prediction))
    print("predicted: " + ", ".join(f"{names[name]} {name}" for name in classes))


def _names(prediction: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (prediction,) if isinstance(prediction, str) else prediction or ()


def _said(prediction: str | tuple[str, ...] | None) -> str:
    return ", ".join(_names(prediction))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _mask_facts(result: FileResult, classes: Sequence[str]) -> dict[str, Any]:
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


def _class_facts(result: ClassifiedFile, classes: Sequence[str]) -> dict[str, Any]:
    if result.probabilities is None:
        return {"image": str(result.image), "error": result.error}
    return {
        "image": str(result.image),
        "prediction": result.prediction,
        "probability": result.probability,
        "probabilities": dict(zip(classes, result.probabilities.tolist(), strict=True)),
        "notes": list(result.notes),
    }


def refuse_bad(done: Sequence[Outcome], what: str, where: str) -> None:
    """End the command with one line if some images could not be read.

    Args:
        done: Of all images.
        what: What is made of an image, in the singular.
        where: Where it went.

    Raises:
        UserError: Some could not.
    """
    bad = [result.error for result in done if result.error is not None]
    if not bad:
        return
    if len(done) == 1:
        raise UserError(bad[0])
    rest = (
        f"the {what}s of the other {len(done) - len(bad)} are in {where}" if len(bad) < len(done) else f"no {what} made"
    )
    raise UserError(f"{len(bad)} of {len(done)} images could not be read, as said above; {rest}")
