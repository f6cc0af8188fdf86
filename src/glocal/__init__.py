"""Glocal: medical-image segmentation and classification with networks that fuse global and local context.

The whole public surface at a glance: create_model, list_models, model_info, deploy, load.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from glocal.errors import UserError
from glocal.models import ModelInfo, create_model, deploy, list_models, model_info

if TYPE_CHECKING:
    from glocal.inference import Classifier, Predictor

try:
    __version__ = version("glocal")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["ModelInfo", "UserError", "__version__", "create_model", "deploy", "list_models", "load", "model_info"]


def load(source: Any, **options: Any) -> Predictor | Classifier:
    """Load a run or model folder for prediction: a predictor of masks or of classes, as its network is.

    See :func:`glocal.inference.load_predictor`, :class:`~glocal.inference.Predictor` and
    :class:`~glocal.inference.Classifier`.
    """
    from glocal.inference import load_predictor

    return load_predictor(source, **options)
