"""Which class of an image is explained, on which map of which network: :func:`explain`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from glocal.errors import UserError, lookup, nearest
from glocal.evaluation.calibration import probabilities
from glocal.inference._guards import naming_memory
from glocal.inference.base import Prepared
from glocal.inference.classifier import Classifier
from glocal.inference.explanation.activation import Route, Score, ablation, gradcam
from glocal.inference.explanation.result import Explanation
from glocal.inference.inputs import Source
from glocal.inference.predictor import Predictor
from glocal.models.network import Network

__all__ = ["METHODS", "Maps", "Method", "explain", "explain_classes", "explain_prepared", "told"]

Method: TypeAlias = Literal["gradcam", "ablation"]
Maps: TypeAlias = Literal["fused", "local", "global"]

METHODS: dict[str, Callable[[Route, int, Score], Tensor | None]] = {"gradcam": gradcam, "ablation": ablation}


@dataclass(frozen=True)
class _Target:
    """A class, and the number that stands for how much the network sees of it."""

    name: str
    probability: float
    score: Score
    notes: tuple[str, ...] = ()


def explain(
    predictor: Predictor | Classifier,
    image: Source,
    *,
    target: str | None = None,
    method: Method = "gradcam",
    level: int = -1,
    maps: Maps = "fused",
) -> Explanation:
    """Say where in an image the score of one class comes from.

    The network is left as it is, and its gradients are not kept. Such a map shows what a score depends on at the
    resolution of one feature map; it proves neither that the network is right nor that it is right for that reason.

    Args:
        predictor: Of :func:`glocal.load`; with ``deploy=False`` the network is explained as it was trained.
        image: As :meth:`glocal.inference.base.BasePredictor.__call__`. It is seen whole.
        target: Name of the class. Default: the most probable; of a segmentation that with the most pixels, without
            the background.
        method: ``"gradcam"``: a feature map weighted by the gradients of the score. ``"ablation"``: by how much the
            score falls when a part of the feature map is removed; no gradients.
        level: Which of the maps of ``network.encode``; from 0, the finest, or from -1, the deepest.
        maps: Of a network with two branches: the ``"fused"`` maps, or those of the ``"local"`` or ``"global"`` one.

    Raises:
        UserError: There is no such class, method, map or branch, the score does not depend on that map, a segmentation
            shows no class but the background and no ``target`` is given, or the image cannot be read.
    """
    found = explain_classes(
        predictor, image, targets=None if target is None else [target], method=method, level=level, maps=maps, most=1
    )
    if not found:
        raise UserError("no pixel of the image is of a class but the background; name the class to explain")
    return found[0]


def explain_classes(
    predictor: Predictor | Classifier,
    image: Source,
    *,
    targets: Sequence[str] | None = None,
    method: Method = "gradcam",
    level: int = -1,
    maps: Maps = "fused",
    most: int | None = None,
) -> list[Explanation]:
    """Explain several classes of one image, of which the network sees the image once.

    Args:
        predictor: As :func:`explain`.
        image: As :func:`explain`.
        targets: Names of classes. Default: the predicted one; of several labels each that is predicted, or else the
            most probable; of a segmentation each that has pixels, without the background, which may be none.
        method: As :func:`explain`.
        level: As :func:`explain`.
        maps: As :func:`explain`.
        most: Of the default classes only so many, the most probable or those with the most pixels.

    Raises:
        UserError: As :func:`explain`.
    """
    return explain_prepared(
        predictor, predictor.prepare(image), targets=targets, method=method, level=level, maps=maps, most=most
    )


def explain_prepared(
    predictor: Predictor | Classifier,
    image: Prepared,
    *,
    targets: Sequence[str] | None = None,
    method: Method = "gradcam",
    level: int = -1,
    maps: Maps = "fused",
    most: int | None = None,
) -> list[Explanation]:
    """As :func:`explain_classes`, of an image that has been read."""
    compute = lookup("method {} is unknown", method, METHODS)
    network = _network(predictor, maps)
    for name in targets or ():
        if name not in predictor.classes:
            known = ", ".join(predictor.classes[:20])
            raise UserError(f"no class {name!r}; there are {known}.{nearest(name, predictor.classes)}")
    how = method + (f", {maps} maps" if maps != "fused" else "") + (f", map {level}" if level != -1 else "")
    found = []
    with naming_memory(predictor.device), torch.inference_mode(False), torch.enable_grad():
        x = predictor.normalised([image])
        size = (x.shape[2], x.shape[3])
        x = network.to_grid(x).requires_grad_()
        route = _route(network, x, maps)
        _check_level(predictor.record.name, route.maps, level)
        if isinstance(predictor, Classifier):
            chosen = _class_targets(predictor, route.logits, targets, most)
        else:
            chosen = _area_targets(predictor, route.logits[..., : size[0], : size[1]], targets, most)
        for target in chosen:
            activation = compute(route, level, target.score)
            if activation is None:
                raise UserError(
                    f"{predictor.record.name} does not compute the score of {target.name!r} from map {level}"
                )
            highest, strength = _at_image(activation, (x.shape[2], x.shape[3]), size, image.picture.size)
            silent = () if highest > 0 else (f"nothing in map {level} speaks for {target.name} by itself",)
            single = (
                (f"map {level} is one pixel: it cannot say where",) if route.maps[level].shape[2:] == (1, 1) else ()
            )
            notes = (*told(image), *target.notes, *silent, *single)
            found.append(Explanation(image.picture, target.name, strength, target.probability, how, notes))
    return found


def _network(predictor: Predictor | Classifier, maps: str) -> Network:
    """The network in eval mode, once it is certain that it gives the maps asked for."""
    network, name = predictor.network.eval(), predictor.record.name
    if not isinstance(network, Network):
        raise UserError(f"{type(network).__name__} has no encode and decode; explain a registered network")
    if maps not in get_args(Maps):
        near = nearest(maps, get_args(Maps))
        raise UserError(f"maps {maps!r} are unknown; use one of {', '.join(get_args(Maps))}.{near}")
    if maps != "fused" and not hasattr(network, "branches"):
        raise UserError(f"{name} has no {maps} branch of its own; leave --maps out")
    return network


def _check_level(name: str, maps: list[Tensor], level: int) -> None:
    if not -len(maps) <= level < len(maps):
        sizes = ", ".join(f"{i} of {m.shape[2]}x{m.shape[3]}" for i, m in enumerate(maps))
        raise UserError(f"{name} has no map {level}; it has {sizes} (--level)")


def told(prepared: Prepared) -> tuple[str, ...]:
    """What was done to an image that is seen whole, windows or not."""
    if not prepared.windows:
        return prepared.notes
    return (*(note for note in prepared.notes if not note.startswith("seen in windows")), "seen whole at its own size")


def _route(network: Network, x: Tensor, maps: str) -> Route:
    """The maps of an image on the grid, and the logits that follow from them."""
    if maps == "fused":
        found = network.encode(x)
        return Route(found, network.decode(found), network.decode)
    branches: Any = network
    local_maps, global_maps, _ = branches.branches(x)
    chosen, others = (local_maps, global_maps) if maps == "local" else (global_maps, local_maps)

    def decode(changed: list[Tensor]) -> Tensor:
        rest = [one.expand(len(changed[0]), -1, -1, -1) for one in others]
        return network.decode(branches.fuse(*((changed, rest) if maps == "local" else (rest, changed))))

    return Route(chosen, decode(chosen), decode)


def _class_targets(
    classifier: Classifier, logits: Tensor, asked: Sequence[str] | None, most: int | None
) -> list[_Target]:
    record, classes = classifier.record, classifier.classes
    values = logits[0].detach().float().cpu().numpy()
    p = probabilities(values, record.temperature, multi_label=record.multi_label)
    order = np.argsort(-values, kind="stable").tolist()
    predicted = [index for index in order if values[index] >= 0] if record.multi_label else []
    indices = (predicted or order[:1])[:most] if asked is None else [classes.index(name) for name in asked]
    return [_Target(classes[k], float(p[k]), _logit(k)) for k in indices]


def _logit(k: int) -> Score:
    return lambda logits: logits[:, k]


def _logits_within(k: int, area: Tensor) -> Score:
    height, width = area.shape
    return lambda logits: (logits[:, k, :height, :width] * area).sum((1, 2))


def _area_targets(predictor: Predictor, logits: Tensor, asked: Sequence[str] | None, most: int | None) -> list[_Target]:
    """The score of a class is the sum of its logits over the pixels where it is predicted."""
    classes = predictor.classes
    label = logits[0].detach().argmax(0)
    p = logits[0].detach().float().softmax(0)
    pixels = torch.bincount(label.flatten(), minlength=len(classes)).tolist()
    order = sorted(range(1, len(classes)), key=lambda k: -pixels[k])
    present = [k for k in order if pixels[k]][:most]
    targets = []
    for k in present if asked is None else [classes.index(name) for name in asked]:
        area = label == k if pixels[k] else torch.ones_like(label, dtype=torch.bool)
        notes = () if pixels[k] else (f"no pixel is predicted as {classes[k]}: explained over the whole image",)
        targets.append(_Target(classes[k], float(p[k][area].mean()), _logits_within(k, area), notes))
    return targets


def _at_image(
    activation: Tensor, padded: tuple[int, int], seen: tuple[int, int], size: tuple[int, int]
) -> tuple[float, NDArray[np.float32]]:
    """The highest value of a map, and the map at the size of the image, divided by its highest."""
    there = activation.detach().float().cpu()[None, None]
    there = F.interpolate(there, padded, mode="bilinear")[..., : seen[0], : seen[1]]
    whole = F.interpolate(there, size, mode="bilinear", antialias=True)[0, 0]
    highest = float(whole.max())
    strength: NDArray[np.float32] = (whole / highest if highest > 0 else torch.zeros_like(whole)).clamp(0, 1).numpy()
    return highest, strength
