"""Tensor names of HiFuse's published code, as it is and as of June 2022, and ours."""

from __future__ import annotations

from glocal.models.published.system import Rules, within_pattern

__all__ = [
    "ATTENTION",
    "CONVNEXT_BLOCK",
    "INDEX",
    "IRMLP",
    "LOCAL_BLOCK",
    "SAME",
    "SWIN_BLOCK",
    "WINDOW_BLOCK",
    "fusion_rules",
    "network_rules",
]

# Published name -> ours, one table a module.
SAME: Rules = [(r"(.+)", r"\1")]
INDEX = "relative_position_index"
"""A buffer of numbers that follow from the window's side."""
ATTENTION: Rules = [(INDEX, None), *SAME]
WINDOW_BLOCK: Rules = [
    (r"norm1\.(.+)", r"norm.\1"),
    (r"norm2\.(.+)", None),
    (rf"attn\.{INDEX}", None),
    (r"attn\.(.+)", r"attention.\1"),
    (r"fc1\.(.+)", r"linear.\1"),
]
SWIN_BLOCK: Rules = [
    (rf"attn\.{INDEX}", None),
    (r"attn\.(.+)", r"attention.\1"),
    (r"((norm[12]|mlp\.fc[12])\..+)", r"\1"),
]
LOCAL_BLOCK: Rules = [
    (r"dwconv\.(.+)", r"depthwise.\1"),
    (r"(norm\..+)", r"\1"),
    (r"pwconv\.(.+)", r"linear.\1"),
]
CONVNEXT_BLOCK: Rules = [
    (r"dwconv\.(.+)", r"depthwise.\1"),
    (r"(norm\..+|gamma)", r"\1"),
    (r"pwconv([12]\..+)", r"fc\1"),
]
IRMLP: Rules = [
    (r"conv1\.conv\.(.+)", r"conv.\1"),
    (r"bn1\.(.+)", r"norm.\1"),
    (r"conv2\.conv\.(.+)", r"expand.\1"),
    (r"conv3\.conv\.(.+)", r"project.conv.\1"),
    (r"conv3\.bn\.(.+)", r"project.norm.\1"),
]
_BOTTLENECK: Rules = [
    (r"bn1\.(.+)", r"norm.\1"),
    (r"conv1\.conv\.(.+)", r"reduce.conv.\1"),
    (r"bn2\.(.+)", r"reduce.norm.\1"),
    (r"conv2\.conv\.(.+)", r"conv.conv.\1"),
    (r"bn3\.(.+)", r"conv.norm.\1"),
    (r"conv3\.conv\.(.+)", r"expand.\1"),
    (r"skip_layer\.conv\.(.+)", r"skip.\1"),
]


def _conv_norm(published: str, ours: str) -> Rules:
    return [(rf"{published}\.conv\.(.+)", rf"{ours}.conv.\1"), (rf"{published}\.bn\.(.+)", rf"{ours}.norm.\1")]


def fusion_rules(first: bool, old: bool) -> Rules:
    """Of a fusion block; each published one has the mixers of both kinds and uses one."""
    unused = r"(Updim|norm1|W3)\..+" if first else r"(norm2|W)\..+"
    rules: list[tuple[str, str | None]] = [
        (unused, None),
        (r"se\.0\.(.+)", r"global_attention.fc1.\1"),
        (r"se\.2\.(.+)", r"global_attention.fc2.\1"),
        *_conv_norm("spatial", "local_attention.conv"),
        *_conv_norm("W_l", "local_conv"),
        *_conv_norm("W_g", "global_conv"),
        *_conv_norm("Updim", "previous_conv"),
    ]
    if old:
        return [*rules, *_conv_norm("W3?", "mixer.0"), *within_pattern("residual", "transform", _BOTTLENECK)]
    return [
        *rules,
        (r"norm[12]\.(.+)", r"mixer.0.\1"),
        *_conv_norm("W3?", "mixer.1"),
        (r"norm3\.(.+)", r"transform.0.\1"),
        *within_pattern("residual", "transform.1", IRMLP),
    ]


def network_rules(old: bool) -> Rules:
    """Of the whole network; ``old``: of June 2022."""
    rules: list[tuple[str, str | None]] = [
        (r"(norm|head)\.(.+)", None),
        (r"conv_(norm|head)\.(.+)", r"\1.\2"),
        (r"patch_embed\.proj\.(.+)", r"embed.\1"),
        (r"patch_embed\.norm\.(.+)", r"embed_norm.\1"),
        (r"downsample_layers\.0\.(.+)", r"stem.\1"),
    ]
    for s in range(4):
        rules += within_pattern(rf"layers{s + 1}\.downsample", f"merging.{s - 1}", SAME)
        rules += within_pattern(rf"downsample_layers\.{s}", f"downsample.{s - 1}", SAME)
        rules += within_pattern(f"fu{s + 1}", f"fusion.{s}", fusion_rules(first=s == 0, old=old))
        for ours, published, block in (
            ("global_stages", rf"layers{s + 1}\.blocks", SWIN_BLOCK if old else WINDOW_BLOCK),
            ("local_stages", rf"stages\.{s}", CONVNEXT_BLOCK if old else LOCAL_BLOCK),
        ):
            rules += within_pattern(rf"{published}\.(\d+)", rf"{ours}.{s}.\1", block)
    return rules
