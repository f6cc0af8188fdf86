"""Holding tensors against a network: what is missing, what is too much, what has another shape, what they look like."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from glocal.errors import UserError
from glocal.models import registry
from glocal.models.checkpoints import Checkpoint, first_names
from glocal.models.network import Network, deploy
from glocal.models.published import convert_state_dict, recognise

__all__ = [
    "Form",
    "Misfit",
    "adopt",
    "fill",
    "implied_sizes",
    "in_file",
    "looks_like",
    "misfit",
    "other_variant",
    "shapes",
]

logger = logging.getLogger("glocal")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """A network to be made: registered name, options, and whether its branches are merged."""

    name: str
    arguments: Mapping[str, Any]
    deployed: bool = False

    def make(self) -> Network:
        """Make it, freshly initialised.

        Raises:
            UserError: An unknown name or option.
        """
        network = registry.build(self.name, self.arguments)
        return cast(Network, deploy(network)) if self.deployed else network


class without_filling(TorchFunctionMode):  # noqa: N801  used as a context
    """Leaves out what only fills tensors: on the meta device there is nothing to fill, and it takes its time."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        filling = getattr(func, "__name__", "") in _FILLING and args and isinstance(args[0], Tensor)
        if filling and not torch.is_grad_enabled():  # with gradients something is computed: a backbone's maps, say
            return args[0]
        return func(*args, **(kwargs or {}))


_FILLING = {"uniform_", "normal_", "zero_", "fill_", "erfinv_", "mul_", "add_", "clamp_"}


def shapes(form: Form) -> dict[str, Shape]:
    """Names and shapes of a network's tensors; those of a training form without making them."""
    if form.deployed:
        return _shapes_of(form.make())
    with torch.device("meta"), without_filling():
        return _shapes_of(form.make())


def _shapes_of(network: Network) -> dict[str, Shape]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@dataclass(frozen=True)
class Misfit:
    """What does not fit, by name."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped)


def misfit(expected: Mapping[str, Shape], tensors: Mapping[str, Tensor]) -> Misfit:
    """Compare names and shapes. The counters of batch norms may be there or not: nothing depends on them."""
    return Misfit(
        missing=tuple(k for k in expected if k not in tensors and not k.endswith("num_batches_tracked")),
        unexpected=tuple(k for k in tensors if k not in expected and not k.endswith("num_batches_tracked")),
        misshaped=tuple(k for k, v in tensors.items() if k in expected and tuple(v.shape) != expected[k]),
    )


def implied_sizes(form: Form, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The ``in_channels`` and ``num_classes`` that the shapes of ``tensors`` tell.

    A tensor tells when its shape in the network grows with the option.
    """
    expected = shapes(form)
    arguments = {**registry.default_options(form.name), **form.arguments}
    told: dict[str, int] = {}
    for option in ("in_channels", "num_classes"):
        value = arguments[option]
        grown = shapes(replace(form, arguments={**arguments, option: value + 1}))
        for key, before in expected.items():
            after = grown.get(key, before)
            found = tuple(tensors[key].shape) if key in tensors else ()
            if before == after or len(found) != len(before):
                continue
            axis = next(i for i in range(len(before)) if before[i] != after[i])
            more, rest = divmod(found[axis] - before[axis], after[axis] - before[axis])
            if rest == 0 and value + more >= 1:
                told[option] = value + more
            break
    return told


def adopt(
    checkpoint: Checkpoint, name: str | None, options: Mapping[str, Any], *, strict: bool = True
) -> tuple[Form, Checkpoint]:
    """What a checkpoint without a record holds: tensors by our names, and the network that takes them.

    What was done and adopted is logged.

    Args:
        checkpoint: Tensors by our names or by published ones.
        name: The network that is wanted; None: whichever it is.
        options: What the caller asked for; it comes before what the tensors imply.
        strict: Refuse published weights of another variant of the network. False: take them for this variant.

    Raises:
        UserError: The tensors are of another network, or with ``name`` None of none that is known.
    """
    path, tensors = checkpoint.path, checkpoint.tensors
    notes = list(checkpoint.notes)
    found: str | None
    if recognise(tensors) is not None:
        with in_file(path):
            converted = convert_state_dict(tensors)
        notes += [f"recognised as a published {converted.name}", *converted.notes]
        found, implied, deployed = converted.name, converted.arguments, False
        tensors = {**converted.state, **converted.unexpected}
        if options.get("in_channels") == 1 and converted.arguments.get("in_channels") == 3 and converted.repeats_grey:
            tensors |= {key: tensors[key].sum(1, keepdim=True) for key in converted.repeats_grey}
            notes.append("summed the kernels of its stems over the channels, as it repeats grey images to three")
    else:
        found = name or looks_like(tensors)
        if found is None:
            raise UserError(f"{path}: its tensors are those of no network that is known; name one (--model)")
        forms = [Form(found, {**registry.default_options(found), **options}, form) for form in (False, True)]
        form = max(forms, key=lambda form: len(tensors.keys() & shapes(form).keys()))
        implied, deployed = implied_sizes(form, tensors), form.deployed
    assert found is not None
    if name is not None and name != found:
        implied = other_variant(path, found, name, implied, strict=strict)
        notes.append(f"weights of {found}, taken for {name}")
        found = name
    usual = registry.default_options(found)
    adopted = [f"{k}={v!r}" for k, v in implied.items() if k not in options and not _same(v, usual.get(k))]
    if adopted:
        notes.append(f"adopted {', '.join(adopted)}")
    for note in notes:
        logger.info("%s: %s", path, note)
    return Form(found, {**implied, **options}, deployed), Checkpoint(tensors, path, tuple(notes))


def other_variant(path: object, found: str, name: str, arguments: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """What arguments of one variant mean for another of the same network: those that do not tell the two apart.

    Raises:
        UserError: ``strict``, or they are variants of different networks.
    """
    said = f"{path}: these are weights of {found}, not of {name}; make {found} (--model {found})"
    if not registry.same_network(found, name):
        raise UserError(said)
    if strict:
        raise UserError(f"{said}, or strict=False (--no-strict) loads what both have")
    apart = {*registry.model_info(found).arguments, *registry.model_info(name).arguments}
    return {option: value for option, value in arguments.items() if option not in apart}


def _same(one: Any, other: Any) -> bool:
    """Whether two options are equal, a list and a tuple of the same being so."""
    return (list(one) if isinstance(one, tuple) else one) == (list(other) if isinstance(other, tuple) else other)


def fill(form: Form, checkpoint: Checkpoint, *, strict: bool = True) -> tuple[Network, Misfit]:
    """Make the network and load the tensors into it.

    Args:
        form: What to make.
        checkpoint: Tensors with this network's names.
        strict: Refuse what does not fit. False: load what fits, and log what was left out; where the network takes
            grey images and the tensors colour ones, kernels are summed over the channels.

    Returns:
        The network, and what did not fit.

    Raises:
        UserError: The tensors do not fit, or with ``strict=False`` none does; nothing is loaded.
    """
    tensors = checkpoint.tensors
    _require_affordable(form, checkpoint)
    network = form.make()
    expected = _shapes_of(network)
    if not strict:
        tensors = _for_grey(tensors, expected, checkpoint.path)
    wrong = misfit(expected, tensors)
    fitting = {k: v for k, v in tensors.items() if k in expected and k not in wrong.misshaped}
    if not fitting:
        other = looks_like(tensors, besides=form.name)
        hint = f"it looks like {other}" if other else "is it the right file?"
        raise UserError(f"{checkpoint.path}: none of its {len(tensors)} tensors fits {form.name}; {hint}")
    if strict and wrong:
        raise UserError(f"{checkpoint.path}: {_describe(form, expected, wrong, tensors)}")
    own = network.state_dict()
    converted = sorted({str(v.dtype).removeprefix("torch.") for k, v in fitting.items() if v.dtype != own[k].dtype})
    network.load_state_dict(fitting, strict=False)
    if wrong:
        said = f"loaded {len(fitting)} of {len(expected)} tensors of {form.name}; {_parts(expected, wrong, tensors)}"
        logger.warning("%s: %s", checkpoint.path, said)
    if converted:
        logger.info("%s: converted from %s to float32", checkpoint.path, " and ".join(converted))
    return network, wrong


def _for_grey(tensors: Mapping[str, Tensor], expected: Mapping[str, Shape], path: object) -> dict[str, Tensor]:
    """The tensors, kernels of three channels summed where one is expected: they see grey images as if repeated."""
    taken = dict(tensors)
    for key, tensor in tensors.items():
        if tensor.ndim == 4 and tensor.shape[1] == 3 and expected.get(key) == (len(tensor), 1, *tensor.shape[2:]):
            taken[key] = tensor.sum(1, keepdim=True)
            logger.info(
                "%s: summed the kernels of %s over the channels: it takes grey images as if repeated", path, key
            )
    return taken


def _require_affordable(form: Form, checkpoint: Checkpoint) -> None:
    """Refuse a network so much larger than the file that only a forged record can ask for it."""
    wanted = sum(math.prod(shape) for shape in shapes(replace(form, deployed=False)).values())
    held = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    if wanted > max(16 * held, 100_000_000):
        raise UserError(
            f"{checkpoint.path}: does not fit {form.name}, which would hold {wanted} numbers with the options given "
            f"where the file holds {held}; restore the record or give other options"
        )


def _describe(form: Form, expected: Mapping[str, Shape], wrong: Misfit, tensors: Mapping[str, Tensor]) -> str:
    said = f"does not fit {form.name}: {_parts(expected, wrong, tensors)}."
    told = implied_sizes(form, tensors)
    changed = [(option, value) for option, value in told.items() if value != form.arguments.get(option)]
    if changed and not misfit(shapes(replace(form, arguments={**form.arguments, **told})), tensors):
        is_for = " and ".join(f"{option}={value}" for option, value in changed)
        head = "strict=False (--no-strict) keeps a fresh layer there"
        return f"{said} It is for {is_for}: ask for that, or {head}"
    if len(wrong.missing) + len(wrong.misshaped) > len(expected) // 2:
        other = looks_like(tensors, besides=form.name)
        if other:
            return f"{said} It looks like {other}"
    return f"{said} Check the options of the network, or strict=False (--no-strict) loads what fits"


def _parts(expected: Mapping[str, Shape], wrong: Misfit, tensors: Mapping[str, Tensor]) -> str:
    shaped = [f"{k} {tuple(tensors[k].shape)} in the file, {expected[k]} in the network" for k in wrong.misshaped]
    kinds = (
        ("missing", wrong.missing, 4),
        ("unexpected", wrong.unexpected, 4),
        ("of another shape", shaped, 2),
    )
    return "; ".join(f"{len(names)} {kind} ({first_names(names, most)})" for kind, names, most in kinds if names)


def looks_like(tensors: Mapping[str, Tensor], *, besides: str = "") -> str | None:
    """The registered network, other than ``besides``, most of whose names and shapes these are, if more than half."""
    own = {(name, tuple(tensor.shape)) for name, tensor in tensors.items()}
    best, most = None, 0.5
    for name in registry.list_models():
        try:
            theirs = set(shapes(Form(name, {})).items())
        except UserError:  # a network of a library that is not installed
            continue
        share = len(own & theirs) / len(own | theirs)
        if name != besides and share > most:
            best, most = name, share
    return best


@contextlib.contextmanager
def in_file(*paths: object) -> Iterator[None]:
    """Put the first of ``paths`` in front of errors that do not begin with one of them."""
    try:
        yield
    except UserError as error:
        said = str(error)
        if said.startswith(tuple(f"{path}: " for path in paths)):
            raise
        raise UserError(f"{paths[0]}: {said}") from None
