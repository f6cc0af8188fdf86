"""Compact figures of the small golden cases: sampled outputs and gradient norms, in ``compact.json``.

``python tests/golden/golden_compact.py`` makes the file again from the full cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_harness import output_differences, read_case, shared_records
from numpy.typing import NDArray

COMPACT = Path(__file__).with_name("compact.json")
SAMPLES = 61
"""Values kept of each output; a prime, so that the stride meets every channel and column."""
LARGEST_INPUT = 70_000
"""Cases with more input values than this are left to the full set."""
NETWORKS = {
    *("net_batch2_small", "net_deployed_checkpoint", "ablation_single_skip_lft", "ablation_single_scale_gft"),
    *("tiny_8_depthwise", "pvt_spm_micro_64x96", "pvt_spm_tiny_features_128x160", "network_128_c2"),
    *("unet_64", "attunet_64", "unetpp_64", "resunet_64", "transunet_mk_b2_64", "esfpnet_t_64"),
}
"""Whole networks whose long lists of tensors are kept."""


def sampled(output: NDArray[Any]) -> dict[str, Any]:
    """The figures of one output: its shape, values evenly spread over it, and its root mean square."""
    return {
        "shape": list(output.shape),
        "values": [float(np.float32(v)) for v in output.flat[positions(output.size)]],
        "rms": float(np.sqrt(np.mean(np.square(output, dtype=np.float64)))),
    }


def positions(size: int) -> NDArray[np.int64]:
    """Flat positions of the sampled values."""
    return np.linspace(0, size - 1, min(size, SAMPLES)).astype(np.int64)


def compact_differences(
    outputs: Sequence[NDArray[Any]], expected: Sequence[Mapping[str, Any]], system: str
) -> list[str]:
    """What is wrong with outputs, against their figures; empty: they agree."""
    if [list(o.shape) for o in outputs] != [e["shape"] for e in expected]:
        return [f"outputs are {[o.shape for o in outputs]}, expected {[e['shape'] for e in expected]}"]
    values = [o.flat[positions(o.size)] for o in outputs]
    reference = {f"output{i}": np.array(e["values"]) for i, e in enumerate(expected)}
    problems = output_differences(values, reference, system)
    for i, (output, figures) in enumerate(zip(outputs, expected, strict=True)):
        rms = sampled(output)["rms"]
        if not abs(rms - figures["rms"]) <= 1e-5 * figures["rms"]:
            problems.append(f"output{i}: root mean square {rms:.7g}, expected {figures['rms']:.7g}")
    return problems


def read_compact() -> list[dict[str, Any]]:
    """The cases kept in the repository."""
    cases: list[dict[str, Any]] = json.loads(COMPACT.read_text())
    return cases


def _compact(path: Path) -> dict[str, Any] | None:
    record, arrays = read_case(path)
    if len(record["state"]) > 100 and record["case"] not in NETWORKS:
        return None
    if np.prod(record["input_shape"]) > LARGEST_INPUT:
        return None
    outputs = [
        arrays[key] for key in sorted((k for k in arrays if k.startswith("output")), key=lambda k: int(k[6:] or 0))
    ]
    dropped = ("note", "repository", "commit", "max_abs_difference_to_training_form")
    return {
        "record": {key: value for key, value in record.items() if key not in dropped},
        "outputs": [sampled(output) for output in outputs],
        "gradients": [float(f"{norm:.7g}") for norm in arrays["grad_norm"]],
    }


def main() -> None:
    """Write ``compact.json``, one case a line."""
    cases = [_compact(path) for path in shared_records()]
    lines = [json.dumps(case, separators=(",", ":")) for case in cases if case is not None]
    COMPACT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} cases, {COMPACT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
