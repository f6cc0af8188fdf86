"""Tensors out of checkpoint files that anybody may have written: nothing in them is executed, whatever they hold.

What a file is, its first bytes say, not its name.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glocal.errors import UserError
from glocal.files import require_regular_file

__all__ = ["Checkpoint", "first_names", "read_checkpoint"]

logger = logging.getLogger("glocal")

_NESTED_UNDER = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params"),
    *("ema_state_dict", "model_ema", "ema", "module"),
)
"""Where training scripts put the tensors, beside the optimiser and the epoch."""

_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrappers (data parallel, compiled, a training module) put in front of every name."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one file."""

    tensors: dict[str, Tensor]
    """Name -> dense CPU tensor, without the prefixes of wrappers."""
    path: Path
    notes: tuple[str, ...]
    """What was done to get there: the key the tensors were nested under, prefixes taken off, entries left out."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file, bare or nested under a usual key.

    PyTorch files are read with ``weights_only=True``: an object other than a tensor or plain value is refused, and
    nothing in the file is called.

    Raises:
        UserError: The file is missing, empty, damaged, no checkpoint, holds Python objects, would expand to more
            than its size, or has no tensors where they usually are.
    """
    path = require_regular_file(path)
    with path.open("rb") as stream:
        start = stream.read(16)
    notes: list[str] = []
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size - 8:
        found = _read_safetensors(path)
    elif start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":
        found, notes = _tensors(_read_torch(path), path)
    else:
        raise UserError(f"{path}: not a checkpoint (neither safetensors nor PyTorch); is it the right file?")
    if not found:
        raise UserError(f"{path}: no tensors in it; is it the right file?")
    for name, tensor in found.items():
        _require_plain(name, tensor, path)
    tensors, prefix = _without_prefix(found)
    if prefix:
        notes.append(f"took {prefix!r} off every name")
    _warn_of_nan(tensors, path)
    return Checkpoint(tensors, path, tuple(notes))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, KeyError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: damaged safetensors file ({_short(error)}); copy it again from its source") from None


def _read_torch(path: Path) -> Any:
    _refuse_bomb(path)
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:  # of a path, its suffix would count
            warnings.simplefilter("ignore")  # deprecations inside old files; the user cannot act on them
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL ([\w.]+)|(?:global|class|type|function):? [`']?([\w.]+\.\w+)", str(error))
        what = next((name for name in foreign.groups() if name), "") if foreign else ""
        if not what:
            raise UserError(
                f"{path}: damaged, or a pickle that PyTorch did not write and that could run code; nothing "
                "was loaded. Copy it again from its source, or save its tensors: torch.save(network.state_dict(), file)"
            ) from None
        raise UserError(
            f"{path}: holds Python objects ({what}), which could run code; nothing was loaded. "
            "Where you trust it, save its tensors alone: torch.save(network.state_dict(), file)"
        ) from None
    except Exception as error:  # a damaged file makes the reader fail in any way
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable checkpoint ({_short(error)}); truncated? Copy it again from its source")


def _refuse_bomb(path: Path) -> None:
    """PyTorch stores tensors uncompressed: an archive that grows when it is unpacked was not made by it."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from None
    if unpacked > path.stat().st_size:
        raise UserError(
            f"{path}: a compressed archive ({unpacked} bytes unpacked), which PyTorch does not write; "
            "unpack it if you trust it, and name the checkpoint inside"
        )


def _tensors(value: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Find the state dict in what a training script saved."""
    notes: list[str] = []
    for _ in range(4):
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: holds a {type(value).__name__}, not named tensors; save network.state_dict()")
        key = next((k for k in _NESTED_UNDER if isinstance(value.get(k), Mapping)), None)
        if key is None:
            break
        beside = [str(k) for k in value if k != key]
        notes.append(f"took the tensors under {key!r}" + (f", left {first_names(beside)}" if beside else ""))
        value = value[key]
    found = {str(k): v for k, v in value.items() if isinstance(v, Tensor)}
    if not found:
        raise UserError(
            f"{path}: no tensors under its keys ({first_names([str(k) for k in value])}); save the state dict"
        )
    left = [str(k) for k, v in value.items() if not isinstance(v, Tensor)]
    if left:
        notes.append(f"left {first_names(left)}: no tensors")
    return found, notes


def _require_plain(name: str, tensor: Tensor, path: Path) -> None:
    name = first_names([name])
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise UserError(f"{path}: {name} is not a dense tensor of numbers; save the network in float32")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(f"{path}: {name} claims shape {tuple(tensor.shape)} with less data; the file is damaged")


def _without_prefix(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    taken = ""
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) and k != p for k in tensors)), None):
        tensors = {k.removeprefix(prefix): v for k, v in tensors.items()}
        taken += prefix
    return tensors, taken


def _warn_of_nan(tensors: Mapping[str, Tensor], path: Path) -> None:
    bad = [name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if bad:
        logger.warning("%s: NaN or infinite numbers in %s", path, first_names(bad))


def first_names(names: Sequence[str], most: int = 4) -> str:
    """The first few of ``names``, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    shown = ("".join(c if c.isprintable() else "?" for c in name[:200]) for name in names[:most])
    return ", ".join(shown) + more


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
