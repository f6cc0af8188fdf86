"""Frames of a video by their number."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from glocal.data.distributed.distribution import Array
from glocal.errors import UserError, optional_import
from glocal.files import require_regular_file

__all__ = ["frame_of"]


def frame_of(path: Path, number: int, wanted: tuple[int, ...]) -> Array:
    """Frame ``number`` (from 0) of a video, ``uint8 (H, W)`` where it holds no colour, otherwise ``(H, W, 3)``.

    Frames are decoded one after the other and counted, since seeking by time is not exact in AVI.

    Args:
        path: The video.
        number: The frame.
        wanted: All frames of it that will be asked for; they are decoded in one pass.

    Raises:
        UserError: PyAV is not installed, the video is damaged, or ends before that frame.
    """
    frames = _decoded(require_regular_file(path), wanted)
    if number not in frames:
        raise UserError(f"{path}: the video has no frame {number}; it is damaged or not the right one")
    frame = frames[number]
    return frame[..., 0] if bool((frame == frame[..., :1]).all()) else frame


@lru_cache(maxsize=4)
def _decoded(path: Path, wanted: tuple[int, ...]) -> dict[int, Array]:
    av = optional_import("av", "video")
    found: dict[int, Array] = {}
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found[number] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                if number >= max(wanted):
                    break
    except (av.error.FFmpegError, IndexError):
        raise UserError(f"{path}: the video cannot be decoded (damaged, or an unknown codec); copy it again") from None
    return found
