"""Files -> cases -> splits -> cached arrays.

``open_dataset(folder)`` recognises a data set, ``make_splits`` divides it by group, ``read_image`` and ``read_mask``
read single files.
"""

from __future__ import annotations

from glocal.data.cases import Case, Dataset, Problem
from glocal.data.encoding import Encoding
from glocal.data.layouts import open_dataset
from glocal.data.readers import Mask, Picture, image_size, read_image, read_mask
from glocal.data.splits import Fold, Splits, make_splits, open_splits, read_splits

__all__ = [
    "Case",
    "Dataset",
    "Encoding",
    "Fold",
    "Mask",
    "Picture",
    "Problem",
    "Splits",
    "image_size",
    "make_splits",
    "open_dataset",
    "open_splits",
    "read_image",
    "read_mask",
    "read_splits",
]
