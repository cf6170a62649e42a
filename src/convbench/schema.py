"""Read TOML into frozen, validated dataclasses; a wrong key or value is one line that names the nearest right one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from convbench.errors import RequestError, unknown

T = TypeVar("T")


def read_toml(name_or_path: str | Path, kind: str) -> tuple[str, dict[str, Any]]:
    """(name, content) of a packaged TOML file of `kind` ("recipes", "suites") by name, or of any by path."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RequestError(f"no file {path}: expected a TOML file of {kind}, or one of {', '.join(packaged(kind))}")
        text = path.read_text()
    else:
        if str(name_or_path) not in packaged(kind):
            raise unknown(kind.removesuffix("s"), str(name_or_path), packaged(kind))
        text = resources.files("convbench").joinpath(kind, f"{name_or_path}.toml").read_text()
    try:
        return path.stem if path.suffix == ".toml" else str(name_or_path), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{name_or_path}: not valid TOML: {error}") from error


def packaged(kind: str) -> list[str]:
    """The names of the packaged TOML files of `kind`, sorted."""
    folder = resources.files("convbench").joinpath(kind)
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def parse(schema: type[T], content: Mapping[str, Any], where: str) -> T:
    """`content` as a `schema`, a pydantic dataclass that forbids extra keys.

    Raises RequestError for the first thing wrong: `where`, the key, what was expected, what was found.
    """
    try:
        return TypeAdapter(schema).validate_python(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        *parents, key = [str(part) for part in first["loc"]] or [""]
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            place = ".".join([where, *parents])
            raise unknown(f"key in {place}", key, _keys(schema, parents)) from None
        raise RequestError(f"{where}: {'.'.join([*parents, key])}: {first['msg']}, found {first['input']!r}") from None


def _keys(schema: Any, parents: list[str]) -> list[str]:
    """The keys that `schema` takes at the place that `parents` name."""
    definition = TypeAdapter(schema).json_schema()
    definitions = definition.get("$defs", {})
    for parent in parents:
        if parent in definition.get("properties", {}):
            definition = definition["properties"][parent]
        elif "items" in definition:
            definition = definition["items"]
        choices = [definition, *definition.get("anyOf", [])]
        references = [choice["$ref"].rsplit("/", 1)[-1] for choice in choices if "$ref" in choice]
        if references:
            definition = definitions[references[0]]
    return list(definition.get("properties", {}))
