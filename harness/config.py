"""Settings: defaults < `harness.toml` < what was typed. Owns reading the file and resolving a verb's call; never the
work.

The signature of a verb is the only place that names its settings: the command line, the TOML table of the same name
(`[precompute]`, `[train-head]`) and Python read it from there.

    [paths]             data, stores, runs, weights: folders
    [datasets.NAME]     root, labels: where that dataset lies
    [weights]           ENCODER = "file"
    [VERB]              any setting of that verb
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import shlex
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from harness.errors import ConfigError, suggest

FILE = "harness.toml"
PATHS = ("data", "stores", "runs", "weights")
DATASET_KEYS = ("root", "labels")


class Config(msgspec.Struct, frozen=True):
    """What `harness.toml` says; empty where there is no such file."""

    file: str = ""
    paths: dict[str, str] = {}
    datasets: dict[str, dict[str, str]] = {}
    weights: dict[str, str] = {}
    verbs: dict[str, dict[str, Any]] = {}

    def path(self, name: str, default: str) -> Path:
        """A folder of `[paths]`, relative to the file that names it; `default` is relative to where one stands."""
        return self.resolve(self.paths[name]) if name in self.paths else Path(default)

    def resolve(self, text: str) -> Path:
        """A path of the file: relative ones start at the file's own folder."""
        path = Path(text).expanduser()
        return path if path.is_absolute() or not self.file else Path(self.file).parent / path


class Call(msgspec.Struct, frozen=True):
    """One call of a verb with every setting resolved; saved with what it makes."""

    verb: str
    settings: dict[str, Any]
    command: str
    config_file: str


_current: contextvars.ContextVar[tuple[Config, Call] | None] = contextvars.ContextVar("call", default=None)


def load(start: Path | None = None) -> Config:
    """Reads `harness.toml` of the folder one stands in, or of the nearest folder above it.

    Raises:
        ConfigError: not TOML, or a table or key that nobody knows.
    """
    folder = (start or Path.cwd()).resolve()
    file = next((p / FILE for p in (folder, *folder.parents) if (p / FILE).is_file()), None)
    return Config() if file is None else read(file)


def read(file: Path) -> Config:
    """Reads one configuration file; see `load`."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}. Correct that line.") from error
    known = {"paths", "datasets", "weights", *verb_signatures()}
    for table, value in document.items():
        if table not in known:
            raise ConfigError(f"{file}: unknown table [{table}]{suggest(table, known)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{file}: {table!r} must be a table, found {value!r}. Write [{table}] above it.")
    _check_keys(file, "paths", document.get("paths", {}), PATHS)
    for name, facts in document.get("datasets", {}).items():
        if not isinstance(facts, dict):
            raise ConfigError(
                f"{file}: [datasets] {name} must be a table. Write [datasets.{name}] and root = ... below it."
            )
        _check_keys(file, f"datasets.{name}", cast("dict[str, Any]", facts), DATASET_KEYS)
    from harness.registry import encoders

    _check_keys(file, "weights", document.get("weights", {}), encoders().names())
    verbs = {name: document[name] for name in verb_signatures() if name in document}
    for name, settings in verbs.items():
        _check_keys(
            file,
            name,
            settings,
            [key.replace("_", "-") for key in verb_signatures()[name].parameters],
            any_type=True,
        )
    return Config(
        file=str(file),
        paths=document.get("paths", {}),
        datasets=document.get("datasets", {}),
        weights=document.get("weights", {}),
        verbs={name: {k.replace("-", "_"): v for k, v in settings.items()} for name, settings in verbs.items()},
    )


def _check_keys(file: Path, table: str, found: dict[str, Any], known: Any, any_type: bool = False) -> None:
    names = [str(name) for name in known]
    for key, value in found.items():
        if key.replace("_", "-") not in [name.replace("_", "-") for name in names]:
            raise ConfigError(f"{file}: unknown key {key!r} in [{table}]{suggest(key, names)}")
        if not any_type and not isinstance(value, str):
            raise ConfigError(f"{file}: {key!r} in [{table}] must be text in quotation marks, found {value!r}.")


@functools.cache
def verb_signatures() -> dict[str, inspect.Signature]:
    """Verb names -> signatures of the functions that do them."""
    from harness.verbs import VERBS, load_verb

    return {name: inspect.signature(load_verb(name)) for name in VERBS if " " not in name}


def verb[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Makes a function a verb: arguments that were not given come from its TOML table, then from its defaults."""
    name = function.__name__.replace("_", "-")
    signature = inspect.signature(function)
    hints = functools.cache(lambda: typing.get_type_hints(function))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        config = load()
        given = {
            key: _shaped(signature.parameters[key], value, Config())
            for key, value in signature.bind_partial(*args, **kwargs).arguments.items()
        }
        filed = {
            key: _checked(config, name, key, _shaped(signature.parameters[key], value, config), hints()[key])
            for key, value in config.verbs.get(name, {}).items()
        }
        bound = signature.bind_partial(**{**filed, **given})
        bound.apply_defaults()
        missing = [p for p in signature.parameters if p not in bound.arguments]
        if missing:
            flags = " ".join(f"--{key.replace('_', '-')} ..." for key in missing)
            raise ConfigError(f"{name} needs {flags}: type it, or set it in [{name}] of {FILE}.")
        settings = {key: _plain(value) for key, value in bound.arguments.items()}
        record = Call(name, settings, _command(name, signature, settings), config.file)
        token = _current.set((config, record))
        try:
            return function(*bound.args, **bound.kwargs)
        finally:
            _current.reset(token)

    return call


def current() -> tuple[Config, Call]:
    """The configuration and the resolved call of the verb that is running (an anonymous one outside any verb)."""
    return _current.get() or (load(), Call("python", {}, "", ""))


def _shaped(parameter: inspect.Parameter, value: Any, config: Config) -> Any:
    """A value as the verb wants it: text where a path is meant, one thing where several may stand."""
    annotation = str(parameter.annotation)
    if "list[" in annotation:
        return cast("list[Any]", [value] if value is not None and not isinstance(value, list | tuple) else value)
    return config.resolve(value) if "Path" in annotation and isinstance(value, str) else value


def _checked(config: Config, verb: str, key: str, value: Any, wanted: Any) -> Any:
    """A value of the file, of the type that the verb declares.

    Raises:
        ConfigError: it is of another.
    """
    try:
        msgspec.convert(_plain(value), wanted, dec_hook=lambda kind, found: kind(found))
    except (msgspec.ValidationError, TypeError) as error:
        why = str(error)[0].lower() + str(error)[1:]
        raise ConfigError(
            f"{config.file}: {key.replace('_', '-')} = {_plain(value)!r} in [{verb}]: {why}. Correct that line."
        ) from error
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value


def _command(name: str, signature: inspect.Signature, settings: dict[str, Any]) -> str:
    """The command line that does the same, from any directory's point of view the one it was typed in."""
    words = ["harness", name]
    for key, parameter in signature.parameters.items():
        value = settings[key]
        if value == _plain(parameter.default) or value is None:
            continue
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY and "Argument" in str(parameter.annotation):
            words += [str(v) for v in values]
        elif value is True or value is False:
            words.append(f"--{'' if value else 'no-'}{key.replace('_', '-')}")
        else:
            words += [f"--{key.replace('_', '-')}", *(str(v) for v in values)]
    return shlex.join(words)
