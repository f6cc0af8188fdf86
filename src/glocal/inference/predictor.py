"""A trained segmentation network with everything between an image and its mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from glocal.errors import optional_import
from glocal.inference.base import BasePredictor, Prepared, Tiling, load_for_prediction
from glocal.inference.postprocessing import Postprocessing
from glocal.inference.prediction import Prediction
from glocal.inference.tta import Augmented, View
from glocal.models.weights import ModelRecord

if TYPE_CHECKING:
    from glocal.inference.classifier import Classifier

__all__ = ["Predictor", "Tiling", "load_predictor"]

OVERLAP = 0.5
"""Of neighbouring windows, as a fraction of their side."""


class Predictor(BasePredictor[Prediction]):
    """Segments images; :meth:`load` makes one, calling it predicts.

    The logits are resized to the image (bilinear) and the highest wins; the first class is the background. All else as
    :class:`~glocal.inference.base.BasePredictor`.

    Attributes:
        postprocessing: What is done to masks at the end: what the model has chosen on validation. May be replaced, by
            ``Postprocessing()`` for nothing.
    """

    task = "segmentation"

    def __init__(self, network: nn.Module, record: ModelRecord, *, device: str = "auto", deploy: bool = True) -> None:
        super().__init__(network, record, device=device, deploy=deploy)
        self.postprocessing = Postprocessing.from_json(record.postprocessing)

    def _augmented(self, views: tuple[View, ...]) -> nn.Module:
        return Augmented(self.network, views)

    def _outcome(self, image: Prepared, scores: Tensor, notes: tuple[str, ...]) -> Prediction:
        if image.is_slice or not self.postprocessing:
            return Prediction(self.classes, image.picture, scores, notes)
        notes = (*notes, *self.postprocessing.describe(self.classes))
        return Prediction(self.classes, image.picture, scores, notes, self.postprocessing)

    def takes_windows(self, size: tuple[int, int], tiling: Tiling) -> bool:
        """Whether an image of this height and width is cut into windows."""
        steps = self.record.preprocessing
        larger = size[0] > steps.size[0] or size[1] > steps.size[1]
        return larger and (tiling == "always" or (tiling == "auto" and steps.mode == "window"))

    def _pass(self, network: nn.Module, x: Tensor, windows: bool, window_batch: int) -> Tensor:
        if not windows:
            return super()._pass(network, x, windows, window_batch)
        sliding = optional_import("monai.inferers", "train").sliding_window_inference
        size = self.record.preprocessing.size
        scores: Tensor = sliding(x, size, window_batch, network, OVERLAP, mode="gaussian", padding_mode="replicate")
        return scores


def load_predictor(
    source: str | Path, *, device: str = "auto", deploy: bool = True, threads: int | None = None
) -> Predictor | Classifier:
    """Load a run or model folder of either task; its ``model.json`` says which.

    Args:
        source: A run folder, or its ``model/`` or another model folder.
        device: As :class:`~glocal.inference.base.BasePredictor`.
        deploy: As :class:`~glocal.inference.base.BasePredictor`.
        threads: Threads of the network on a CPU, for the whole process; default: as PyTorch has it.

    Raises:
        UserError: No model is there, it is damaged or hostile; or as the class.
    """
    from glocal.inference.classifier import Classifier

    model = load_for_prediction(source, threads)
    if model.record.task == "classification":
        return Classifier(model.network, model.record, device=device, deploy=deploy)
    return Predictor(model.network, model.record, device=device, deploy=deploy)
