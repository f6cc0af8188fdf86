"""Writers of a prepared data set: our plain layout, and nnU-Net's raw format."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from glocal.data.distributed import Content, Distribution, Item
from glocal.data.distributed.distribution import Array
from glocal.data.readers import read_image
from glocal.errors import UserError, optional_import
from glocal.files import atomic, write_json, write_text

__all__ = ["Target", "Writer", "write_nifti"]

Target: TypeAlias = Literal["plain", "nnunet"]
_LEVEL = 4  # of gzip


@dataclass(frozen=True)
class Writer:
    """Writes the cases of one distribution in one of the two forms."""

    to: Target
    distribution: Distribution

    @property
    def ending(self) -> str:
        """Of masks, and of images that are not copied."""
        return ".nii.gz" if self.distribution.kind == "volumes" else ".png"

    def ready(self, item: Item) -> Item:
        """The case as it can be written: nnU-Net reads nothing but PNG as Glocal does, so that others are converted."""
        if self.to == "plain" or self.distribution.kind == "volumes" or not isinstance(item.image, Path):
            return item
        picture = read_image(item.image)
        if item.image.suffix.lower() == ".png" and not picture.notes:
            return item
        pixels = picture.pixels[..., 0] if picture.channels == 1 else picture.pixels
        return replace(item, image=pixels, notes=(*item.notes, *picture.notes, "written as PNG"))

    def targets(self, name: str, item: Item, split: str | None) -> list[str]:
        """Where the image and the mask go, relative to the folder."""
        if self.to == "nnunet":
            part = "Ts" if split == "test" else "Tr"
            return [f"images{part}/{name}_0000{self.ending}", f"labels{part}/{name}{self.ending}"]
        ending = self.ending
        if isinstance(item.image, Path) and self.distribution.kind == "pictures":
            ending = item.image.suffix.lower()
        masks = [] if item.label is None else [f"masks/{name}{self.ending}"]
        return [f"images/{name}{ending}", *masks]

    def write(self, folder: Path, targets: Sequence[str], item: Item) -> None:
        """Write one case; each file appears whole or not at all.

        Raises:
            UserError: The disk is full or the folder cannot be written.
        """
        if item.label is not None:
            self._write(folder / targets[1], item.label, item.affine)
        if isinstance(item.image, Path):
            self._copy(item.image, folder / targets[0])
        else:
            self._write(folder / targets[0], item.image, item.affine)

    def _write(self, path: Path, values: Array, affine: Array | None) -> None:
        if self.distribution.kind == "volumes":
            write_nifti(path, values, affine)
        else:
            write_png(path, values)

    def _copy(self, source: Path, path: Path) -> None:
        if path.suffix == ".gz" and source.suffix != ".gz":
            with atomic(path) as temporary, source.open("rb") as stream, _zipped(temporary) as packed:
                shutil.copyfileobj(stream, packed)
        else:
            with atomic(path) as temporary:
                shutil.copyfile(source, temporary)

    def finish(self, folder: Path, content: Content, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Write the tables that describe the whole: ``cases.csv``, ``classes.txt``, ``dataset.json``.

        Returns:
            What had to be changed for it, a sentence each.
        """
        write_cases(folder / "cases.csv", rows, content.multi_label)
        if self.to == "plain":
            if content.classes:
                write_text(folder / "classes.txt", "".join(f"{name}\n" for name in content.classes))
            return []
        changed = self._alike(folder, rows) if self.distribution.kind == "pictures" else []
        colour = any(row["channels"] == 3 for row in rows)
        names = ("R", "G", "B") if colour else (content.channel or "image",)
        classes = content.classes or tuple(_numbered(rows))
        write_json(
            folder / "dataset.json",
            {
                "channel_names": {str(index): name for index, name in enumerate(names)},
                "labels": {name: index for index, name in enumerate(classes)},
                "numTraining": sum(row["split"] != "test" for row in rows),
                "file_ending": self.ending,
            },
        )
        return changed

    def _alike(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """nnU-Net wants one number of channels: where some pictures are RGB, grey ones get three equal channels."""
        grey = [row for row in rows if row["channels"] == 1]
        if not grey or len(grey) == len(rows):
            return []
        for row in grey:
            path = folder / row["targets"][0]
            pixels = read_image(path).pixels
            if pixels.dtype != np.uint8:
                raise UserError(f"{path}: 16-bit grey among RGB pictures, which nnU-Net cannot hold; use --to plain")
            if pixels.shape[2] == 1:  # not yet, in an earlier attempt
                write_png(path, np.repeat(pixels, 3, axis=2))
        return [f"{len(grey)} grey pictures written with three equal channels, as others are RGB"]


def _numbered(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    highest = max(row["highest"] for row in rows)
    return ["background", *(f"class {index}" for index in range(1, max(highest, 1) + 1))]


def write_cases(path: Path, rows: Sequence[Mapping[str, Any]], multi_label: bool) -> None:
    """Write ``cases.csv`` with the columns that any case needs: id, group, split, class, pixel_size_mm; or nothing."""
    titles = {"group": "group", "split": "split", "labels": "class", "pixel_size": "pixel_size_mm"}
    used = [key for key in titles if any(row[key] for row in rows)]
    if not used:
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", *("labels" if key == "labels" and multi_label else titles[key] for key in used)])
    for row in rows:
        cells = {**row, "labels": "|".join(row["labels"])}
        table.writerow([row["name"], *("" if cells[key] is None else cells[key] for key in used)])
    write_text(path, text.getvalue())


def write_png(path: Path, values: Array) -> None:
    """Write ``uint8 (H, W)``, ``uint8 (H, W, 3)`` or ``uint16 (H, W)`` as PNG."""
    from PIL import Image

    with atomic(path) as temporary:
        Image.fromarray(np.ascontiguousarray(values)).save(temporary, format="PNG")


def write_nifti(path: Path, values: Array, affine: Array | None) -> None:
    """Write a volume ``(D, H, W)`` as ``.nii.gz``, its values unchanged.

    Args:
        path: The file.
        values: Numbers; types that NIfTI does not know are widened.
        affine: ``(4, 4)`` from (column, row, slice) to RAS+ mm; None: unknown, which the header says (codes of 0).
    """
    nibabel = optional_import("nibabel", "volumes")
    image = nibabel.Nifti1Image(_storable(path, values).transpose(2, 1, 0), np.eye(4) if affine is None else affine)
    code = 0 if affine is None else 1
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    image.header.set_xyzt_units("mm")
    with atomic(path) as temporary, _zipped(temporary) as stream:
        image.to_stream(stream)


def _zipped(path: Path) -> gzip.GzipFile:
    return gzip.GzipFile(path, "wb", _LEVEL, mtime=0)


def _storable(path: Path, values: Array) -> Array:
    """``values`` in the narrowest type that NIfTI and its usual readers know, nothing lost."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return values.astype(np.uint8)
    if kind == "f" and size == 2:
        return values.astype(np.float32)
    if kind in "iu" and size == 8:
        low, high = int(values.min()), int(values.max())
        if low < -(2**31) or high >= 2**31:
            raise UserError(f"{path}: values from {low} to {high} do not fit into 32 bits; reduce their range")
        return values.astype(np.int32)
    return values
