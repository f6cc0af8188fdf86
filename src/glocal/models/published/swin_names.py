"""Tensor names of the official Swin code (arXiv 2103.14030), which others copied, and ours in ``SwinEncoder``."""

from __future__ import annotations

from glocal.models.published.system import Rules

__all__ = ["SWIN_ENCODER"]

_BLOCK = r"layers\.(\d+)\.blocks\.(\d+)\."

SWIN_ENCODER: Rules = [
    (r"patch_embed\.proj\.(.+)", r"embed.\1"),
    (r"patch_embed\.norm\.(.+)", r"embed_norm.\1"),
    (_BLOCK + r"(norm[12]\..+|mlp\.fc[12]\..+)", r"stages.\1.\2.\3"),
    (_BLOCK + r"attn\.relative_position_index", None),  # constants, computed where they are needed
    (_BLOCK + r"attn_mask", None),  # likewise; of shifted blocks, for one size
    (_BLOCK + r"attn\.(.+)", r"stages.\1.\2.attention.\3"),
    (r"layers\.(\d+)\.downsample\.(.+)", r"merging.\1.\2"),
    (r"norm(\d)\.(.+)", r"norms.\1.\2"),
]
"""Patch embedding, stages, patch merging, and the norms of a backbone's maps; not the classifier's norm and head."""
