"""Memory of predicting volumes of 512x512 slices by their depth: ``python benchmarks/volume_memory.py``.

Each depth runs in a process of its own: the network, then ``glocal.inference.volumes.predict_volume`` and the NIfTI
writer. Printed is by how much the resident memory of the process (its peak, shared libraries included) is above what it
was with the network loaded and one slice passed through it. With ``--limit`` the script fails if a depth needs more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

SIDE = 512
CLASSES = ("background", "one", "two", "three")


def write_volume(path: Path, depth: int) -> None:
    """A synthetic CT of ``depth`` slices, written slice by slice."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((SIDE, SIDE, depth))
    header.set_sform(np.diag([0.7, 0.7, 1.5, 1.0]), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    random = np.random.default_rng(0)
    with path.open("wb") as stream:
        stream.write(header.binaryblock + bytes(4))
        for _ in range(depth):
            stream.write(random.integers(-1000, 1000, (SIDE, SIDE)).astype(np.int16).tobytes())


def resident() -> int:
    """Bytes of memory that this process holds now."""
    with Path("/proc/self/statm").open() as stream:
        return int(stream.read().split()[1]) * 4096


class Peak(threading.Thread):
    """The highest resident memory, looked at a hundred times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self._over = 0, threading.Event()

    def run(self) -> None:
        """Look until the end."""
        while not self._over.wait(0.01):
            self.most = max(self.most, resident())

    def end(self) -> int:
        """Stop, and say how high it was."""
        self._over.set()
        self.join()
        return self.most


def measure(depth: int, folder: Path, size: int) -> tuple[int, int]:
    """Bytes above the network's own while a volume is predicted and written, and the same of its post-processing."""
    import torch

    import glocal
    from glocal.data.volumes import open_volume
    from glocal.inference import Predictor
    from glocal.inference.postprocessing import Postprocessing
    from glocal.inference.volumes import predict_volume, write_nifti
    from glocal.models.weights import ModelRecord, Preprocessing

    torch.set_num_threads(1)
    window = {"kind": "window", "low": -1000.0, "high": 1000.0}
    steps = Preprocessing((size, size), 1, (0.5,), (0.3,), intensity=window, orientation="LPS")
    network = glocal.create_model("lmnet_tiny", in_channels=1, num_classes=len(CLASSES))
    predictor = Predictor(network, ModelRecord("lmnet_tiny", {}, CLASSES, "segmentation", steps), device="cpu")
    path = folder / f"{depth}.nii"
    write_volume(path, 1)
    predict_volume(predictor, open_volume(path), scratch=folder)  # libraries are loaded, and one slice is through
    write_volume(path, depth)
    file, before = open_volume(path), resident()
    peaks = []
    for postprocessing in (Postprocessing(), Postprocessing((1,), {2: 50}, (1,))):
        predictor.postprocessing = postprocessing
        watch = Peak()
        watch.start()
        made = predict_volume(predictor, file, scratch=folder)
        write_nifti(made.planes(), file, folder / "mask.nii")
        peaks.append(watch.end() - before)
        del made
    return peaks[0], peaks[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[30, 100, 300])
    parser.add_argument("--size", type=int, default=64, help="the network sees slices at; small, for speed")
    parser.add_argument("--limit", type=float, help="MiB that no depth may exceed")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.one:
            print(*measure(given.one, Path(folder), given.size))
            return
        print(f"slices of {SIDE}x{SIDE}, {len(CLASSES)} classes, lmnet_tiny at {given.size}x{given.size}")
        print("depth   volume on disk   predicted and written   with post-processing in 3-D")
        for depth in given.depths:
            command = [sys.executable, __file__, "--one", str(depth), "--size", str(given.size)]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            plain, mended = (int(value) / 2**20 for value in told)
            print(f"{depth:5}   {depth * SIDE * SIDE * 2 / 2**20:10.0f} MiB   {plain:17.0f} MiB   {mended:19.0f} MiB")
            if given.limit is not None and max(plain, mended) > given.limit:
                sys.exit(f"more than {given.limit:g} MiB")


if __name__ == "__main__":
    main()
