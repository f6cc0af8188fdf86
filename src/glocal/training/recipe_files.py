"""Recipes as YAML files and command-line flags; both are checked against the dataclasses, key by key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import jsonargparse
import yaml

from glocal.errors import UserError, nearest
from glocal.files import read_yaml
from glocal.training.recipe import Recipe, check_recipe

__all__ = [
    "add_recipe_arguments",
    "dump_recipe",
    "load_recipe",
    "recipe_from",
    "recipe_from_arguments",
    "recipe_settings",
    "settings_of",
    "shipped_recipes",
]


@dataclass(frozen=True)
class _Setting:
    """One leaf of the tree of settings."""

    name: str
    """With dots, such as ``"train.epochs"``."""
    type: Any
    default: Any
    help: str


def _documented(kind: type) -> dict[str, str]:
    """The texts of the ``Attributes:`` section of a dataclass."""
    section = (kind.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _sections(kind: type, prefix: str = "", summary: str = "") -> Iterator[tuple[str, str, list[_Setting]]]:
    """Each dataclass of the tree: its dotted name, one sentence about it, and the settings it holds itself."""
    hints, texts = get_type_hints(kind), _documented(kind)
    own, inner = [], []
    for entry in fields(kind):
        name, hint = f"{prefix}{entry.name}", hints[entry.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            inner.append((hint, f"{name}.", texts[entry.name]))
        else:
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            own.append(_Setting(name, hint, default, texts[entry.name]))
    yield prefix.rstrip("."), summary, own
    for section in inner:
        yield from _sections(*section)


def _settings() -> dict[str, _Setting]:
    return {setting.name: setting for _, _, own in _sections(Recipe) for setting in own}


def add_recipe_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Give ``parser`` one flag for each setting of a recipe, such as ``--train.epochs``."""
    for name, summary, own in _sections(Recipe):
        group = parser.add_argument_group(f"{name}: {summary}" if name else "recipe")
        for setting in own:
            group.add_argument(f"--{setting.name}", type=setting.type, default=setting.default, help=setting.help)


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package: name -> file."""
    folder = Path(str(resources.files("glocal") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _flat(value: Mapping[str, Any], known: Sequence[str], source: str, prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree read from ``source``, by dotted name; a key that is not known is refused."""
    sections = {name.rpartition(".")[0] for name in known}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if name in known:
            flat[name] = inner
        elif name in sections or any(section.startswith(f"{name}.") for section in sections):
            if not isinstance(inner, Mapping):
                raise UserError(f"{source}: {name} is a section, not a value; put its settings below it, indented")
            flat |= _flat(inner, known, source, f"{name}.")
        else:
            beside = {k[len(prefix) :].partition(".")[0] for k in known if k.startswith(prefix)}
            best = nearest(str(key), sorted(beside)) or nearest(name, known)
            raise UserError(f"{source}: no setting {name!r}.{best} Mend or remove it")
    return flat


def _typed(flat: Mapping[str, Any], source: str) -> dict[str, Any]:
    """``flat`` with every value checked against and brought to the type of its setting."""
    settings = _settings()
    checked = {}
    for name, value in flat.items():
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=settings[name].type)
        try:
            checked[name] = parser.parse_object({"value": value}).value
        except (jsonargparse.ArgumentError, TypeError, ValueError):
            kind = _kind(settings[name].type)
            raise UserError(f"{source}: {name} is {value!r}, which is not {kind}; mend it") from None
    return checked


def _kind(hint: Any) -> str:
    """A type in words."""
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__origin__") else str(hint)
    words = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
    text = re.sub(r"typing\.", "", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda m: "one of " + m[1].replace("'", ""), text)
    return words.get(text, text.replace(" | None", " or null").replace(" | ", " or "))


def recipe_settings(source: str | Path) -> dict[str, Any]:
    """The settings a recipe file makes, by dotted name; what it does not mention is not in it.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.

    Raises:
        UserError: No such recipe; or the file is not plain YAML, has an unknown setting or a value of the wrong type.
    """
    shipped = shipped_recipes()
    path = shipped.get(str(source), Path(source))
    if str(source) not in shipped and not path.exists() and path.suffix not in (".yaml", ".yml"):
        hint = nearest(str(source), shipped)
        raise UserError(f"no recipe {str(source)!r}.{hint} There are: {', '.join(shipped)}; or name a YAML file")
    value = read_yaml(path)
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: not a recipe (settings such as `train: {{epochs: 50}}` are expected)")
    return _typed(_flat(value, list(_settings()), str(path)), str(path))


def recipe_from(flat: Mapping[str, Any]) -> Recipe:
    """The recipe with these settings, by dotted name, and the defaults for all others.

    Raises:
        UserError: A value makes no sense.
    """
    return check_recipe(_build(Recipe, flat, ""))


def _build(kind: type, flat: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(kind)
    arguments = {}
    for entry in fields(kind):
        name = f"{prefix}{entry.name}"
        if is_dataclass(hints[entry.name]):
            arguments[entry.name] = _build(hints[entry.name], flat, f"{name}.")
        elif name in flat:
            arguments[entry.name] = flat[name]
    return kind(**arguments)


def load_recipe(source: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        changes: Settings by dotted name that go before those of the file, such as ``{"train.epochs": 5}``.

    Raises:
        UserError: As :func:`recipe_settings`, or a value makes no sense.
    """
    settings = recipe_settings(source)
    extra = _typed(_flat(changes or {}, list(_settings()), "changes"), "changes")
    with _named(source):
        return recipe_from({**settings, **extra})


@contextlib.contextmanager
def _named(source: str | Path) -> Iterator[None]:
    """Put the name of the recipe before what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"recipe {source}: {error}") from None


def recipe_from_arguments(arguments: jsonargparse.Namespace) -> Recipe:
    """The recipe in what a parser with :func:`add_recipe_arguments` has parsed.

    Raises:
        UserError: A value makes no sense.
    """
    return recipe_from({name: arguments[name] for name in _settings()})


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """All settings of a recipe by dotted name; :func:`recipe_from` makes the recipe of them again."""
    settings = {}
    for name in _settings():
        value: Any = recipe
        for part in name.split("."):
            value = getattr(value, part)
        settings[name] = value
    return settings


def dump_recipe(recipe: Recipe) -> str:
    """All settings as YAML, defaults included; :func:`load_recipe` reads the same recipe back."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    text: str = yaml.safe_dump(plain(asdict(recipe)), sort_keys=False, allow_unicode=True, default_flow_style=None)
    return text
