"""``glocal convert``: turn a checkpoint, published or ours, into a model folder."""

from __future__ import annotations

import json
from pathlib import Path

from glocal.cli._parser import Parser
from glocal.errors import UserError

EXAMPLES = """
glocal convert authors.pth lmnet-published/                # the network is recognised
glocal convert authors.pth out/ --model lmnet --classes background,polyp
glocal convert backbone.safetensors out/ --model lmnet --no-strict
glocal convert authors.pth out/ --json
"""


def _parser() -> Parser:
    parser = Parser(
        "convert",
        "Turn a checkpoint (.pth, .pt, .ckpt, .safetensors) into a model folder: model.safetensors and model.json. "
        "Nothing in the checkpoint is executed.",
        EXAMPLES,
    )
    parser.add_argument("checkpoint", type=str, metavar="FILE", help="the checkpoint")
    parser.add_argument("output", type=str, metavar="OUT", help="the model folder to make")
    parser.add_argument("--model", type=str, help="name of the network; needed where it cannot be recognised")
    parser.add_argument("--classes", type=str, help="names of the outputs, in order, with commas between")
    parser.add_argument("--no-strict", action="store_true", help="load what fits, and say what was left out")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def run(arguments: list[str]) -> None:
    """Convert one checkpoint."""
    given = _parser().parse_args(arguments)
    output = Path(given.output)
    if output.is_dir() and any(output.iterdir()) and not given.force:
        raise UserError(f"{output}: this folder is not empty; name a new one, or --force replaces the model in it")

    from glocal.models.conversion import convert_checkpoint

    classes = None if given.classes is None else [name.strip() for name in given.classes.split(",")]
    done = convert_checkpoint(given.checkpoint, output, name=given.model, classes=classes, strict=not given.no_strict)
    facts = {
        "output": str(output),
        "name": done.record.name,
        "arguments": dict(done.record.to_json()["arguments"]),
        "classes": list(done.record.classes),
        "deployed": done.record.deployed,
        "tensors": done.tensors,
        "parameters": done.parameters,
        "fresh": list(done.fresh),
        "left_out": list(done.left_out),
        "notes": list(done.notes),
    }
    if given.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    print(f"{output}: {done.record.name}{', deployed' if done.record.deployed else ''}")
    print(f"  {done.tensors} tensors, {done.parameters:,} parameters; classes {', '.join(done.record.classes)}")
    for what, names in (("freshly initialised", done.fresh), ("left out", done.left_out)):
        if names:
            print(f"  {what}: {len(names)} tensors ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})")
