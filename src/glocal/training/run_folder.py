"""A run on disk: what was asked for, what it was made with, and what it has come to so far."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from glocal.errors import UserError
from glocal.files import read_json, write_json, write_text
from glocal.training.recipe import Recipe
from glocal.training.recipe_files import dump_recipe, load_recipe

__all__ = ["COLUMNS", "Row", "RunFolder", "best_row", "digest", "hardware", "now", "versions"]

COLUMNS = ("epoch", "learning_rate", "train_loss", "val_loss")
"""Columns of ``metrics.csv`` before the scores. No times: a resumed run leaves the same file as an unbroken one."""

Row = dict[str, float]
"""One epoch: the columns, and ``seconds``, which only the checkpoint and the manifest keep."""


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide about the numbers."""
    found = {"python": platform.python_version()}
    for package in ("glocal", "torch", "lightning", "monai", "kornia", "numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """What the run is computed on."""
    facts: dict[str, Any] = {
        "device": str(device),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["cuda"] = torch.version.cuda
    return facts


def best_row(history: Sequence[Row], select_by: str) -> Row | None:
    """The first epoch with the highest score; an epoch whose score is not a number counts lowest."""

    def score(row: Row) -> float:
        value = row[select_by]
        return value if value == value else float("-inf")

    return max(history, key=score, default=None)


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @property
    def recipe(self) -> Path:
        """Everything that was asked for."""
        return self.path / "recipe.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, hardware, seeds, data, duration."""
        return self.path / "manifest.json"

    @property
    def splits(self) -> Path:
        """Which case is in which part."""
        return self.path / "splits.json"

    @property
    def last(self) -> Path:
        """Checkpoint after the last epoch, to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """Checkpoint after the best epoch."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def model(self) -> Path:
        """All that prediction needs, with the weights of the best epoch."""
        return self.path / "model"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes on this machine from training the same run meanwhile.

        Raises:
            UserError: Another process is training it.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path}: another process is training this run; wait until it ends, or stop it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def require_new(self) -> None:
        """Refuse a folder that has something in it.

        Raises:
            UserError: It is a file, or a folder that is not empty.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: a file where the run folder should go; choose another --output")
        if self.path.is_dir() and any(self.path.iterdir()):
            cure = f"continue it (--resume {self.path}) or " if self.recipe.exists() else ""
            raise UserError(f"{self.path}: the folder is not empty; {cure}choose another --output")

    def require_run(self) -> RunFolder:
        """Return this folder if it is that of a run.

        Raises:
            UserError: It does not exist, or lacks the manifest or the recipe.
        """
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such run folder; check the path given to --resume")
        if not self.manifest.exists() or not self.recipe.exists():
            raise UserError(f"{self.path}: not a run that can be resumed (no manifest.json or recipe.yaml)")
        return self

    def create(self, recipe: Recipe, manifest: Mapping[str, Any], splits: Any) -> None:
        """Write recipe, splits and manifest of a run that begins; the manifest last.

        Raises:
            UserError: The folder cannot be written.
        """
        text = dump_recipe(recipe)
        head = f"# Everything this run was asked for. Repeat it: glocal train DIR --recipe {self.recipe.name}\n"
        write_json(self.splits, splits)
        write_text(self.recipe, head + text)
        self.write_manifest({**manifest, "recipe_sha256": digest(text), "splits_sha256": self._splits_digest()})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, whole."""
        write_json(self.manifest, dict(manifest))

    def _splits_digest(self) -> str:
        return digest(self.splits.read_text(encoding="utf-8"))

    def reopen(self) -> tuple[Recipe, dict[str, Any]]:
        """Recipe and manifest of a run that is to be continued.

        Raises:
            UserError: It is no run, or its recipe or splits were edited since it began.
        """
        self.require_run()
        manifest = read_json(self.manifest)
        facts = manifest.get("data") if isinstance(manifest, dict) else None
        if not isinstance(facts, dict) or not {"root", "fingerprint", "encoding"} <= facts.keys():
            raise UserError(f"{self.manifest}: not the manifest of a run; restore it or start a new run")
        recipe = load_recipe(self.recipe)
        if digest(dump_recipe(recipe)) != manifest.get("recipe_sha256"):
            raise UserError(
                f"{self.recipe}: edited since the run began; restore it, or start a new run with it "
                f"(--recipe {self.recipe} --output OTHER)"
            )
        read_json(self.splits)
        if self._splits_digest() != manifest.get("splits_sha256"):
            raise UserError(f"{self.splits}: edited since the run began; restore it, or start a new run")
        return recipe, manifest

    def write_metrics(self, history: Sequence[Row], scores: Sequence[str]) -> None:
        """Write ``metrics.csv``: one row an epoch, numbers exact; a score that is not a number is left empty.

        Args:
            history: The epochs.
            scores: Names of the scores, which are the columns after the first four.
        """
        columns = (*COLUMNS, *scores)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in history:
            values = [row[name] for name in columns]
            writer.writerow([int(values[0]), *(repr(v) if v == v else "" for v in values[1:])])
        write_text(self.path / "metrics.csv", stream.getvalue())

    def load_checkpoint(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint of this run, without executing anything in it.

        Raises:
            UserError: It is damaged, or not one of ours.
        """
        if not path.is_file() or path.stat().st_size == 0:
            raise UserError(f"{path}: the checkpoint is missing or empty; {self._cure(path)}")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # torch raises many kinds for damaged files
            raise UserError(f"{path}: not a usable checkpoint ({type(error).__name__}); {self._cure(path)}") from error
        try:
            checkpoint["callbacks"]["Keeper"]["history"], checkpoint["state_dict"]
        except (KeyError, TypeError):
            raise UserError(f"{path}: not a checkpoint of a run; {self._cure(path)}") from None
        return cast(dict[str, Any], checkpoint)

    def require_weights_of(self, network: Mapping[str, Tensor], checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of another network.

        Args:
            network: State dict of the network, with the names it has in the checkpoint.
            checkpoint: Of :meth:`load_checkpoint`.

        Raises:
            UserError: Names or shapes differ.
        """
        there = {name: value.shape for name, value in checkpoint["state_dict"].items()}
        if there != {name: value.shape for name, value in network.items()}:
            raise UserError(f"{self.last}: the checkpoint of another network; {self._cure(self.last)}")

    def _cure(self, path: Path) -> str:
        if path == self.last and self.best.exists():
            return (
                f"copy {self.best.name} over it to go on from the best epoch, or remove it to start from the beginning"
            )
        return "restore it, or start a new run"
