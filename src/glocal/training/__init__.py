"""Training: recipes, losses, augmentation, the Lightning module, the run folder.

``train(data, load_recipe("lmnet"), "runs/x")`` trains; ``resume("runs/x")`` continues what was interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glocal.errors import optional_import
from glocal.training.losses import LossConfig, make_loss
from glocal.training.recipe import Recipe
from glocal.training.recipe_files import load_recipe, shipped_recipes

if TYPE_CHECKING:
    from glocal.training.fit import RunResult, resume, train

__all__ = ["LossConfig", "Recipe", "RunResult", "load_recipe", "make_loss", "resume", "shipped_recipes", "train"]


def __getattr__(name: str) -> Any:
    """Import what needs Lightning when it is first asked for, and name the extra where it is missing."""
    if name not in ("RunResult", "resume", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for package in ("lightning.pytorch", "tensorboard"):
        optional_import(package, "train")
    from glocal.training import fit

    return getattr(fit, name)
