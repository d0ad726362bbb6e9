"""Arguments: ``flor.arg`` values from ``--kwargs name=value …`` and from the variable ``FLOR_ARGS``."""

from __future__ import annotations

import json
import os
import sys

from flor_replay.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


def given() -> dict[str, str | object]:
    """What the caller asked for, by name. Values on the command line win over ``FLOR_ARGS``.

    ``FLOR_ARGS`` is ``name=value name=value`` (quoted as in a shell) or a JSON object.
    """
    values: dict[str, str | object] = {}
    text = os.environ.get("FLOR_ARGS", "").strip()
    if text.startswith("{"):
        try:
            values.update(json.loads(text))
        except ValueError as error:
            raise UsageError(f"FLOR_ARGS is not valid JSON: {error}") from None
    elif text:
        import shlex

        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"FLOR_ARGS: {text!r} cannot be split into words: {error}") from None
        for word in words:
            name, found, value = word.partition("=")
            if not found or not name:
                raise UsageError(f"FLOR_ARGS: {word!r} is not of the form name=value")
            values[name] = value
    values.update(_command_line(sys.argv[1:]))
    return values


def _command_line(words: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    reading = False
    for place, word in enumerate(words):
        if word == "--kwargs":
            reading = True
        elif reading:
            name, found, value = word.partition("=")
            if not found or not name or word.startswith("-"):
                if words[place - 1] == "--kwargs" and not word.startswith("-"):
                    raise UsageError(f"--kwargs: {word!r} is not of the form name=value")
                reading = False
            else:
                values[name] = value
    return values


def cast(name: str, value: object, default: object) -> Any:
    """`value` (text from the caller, or a JSON value) as the type of `default`.

    Raises UsageError naming the argument, the value and the type. With no default, numbers, true/false/none and
    JSON lists and objects are recognised, everything else is text.
    """
    if not isinstance(value, str):
        if default is None or value is None or type(value) is type(default):
            return value
        if isinstance(default, (list, tuple, set)) and isinstance(value, list):
            return type(default)(value)
        value = str(value)
    kind: Any = type(default)
    try:
        if default is None:
            return _guess(value)
        if kind is bool:
            low = value.strip().lower()
            if low in _TRUE:
                return True
            if low in _FALSE:
                return False
            raise ValueError("true or false is expected")
        if kind is int:
            return int(value)
        if kind is float:
            return float(value)
        if kind is str:
            return value
        if kind in (list, tuple, dict, set):
            parsed = _literal(value)
            if kind in (list, tuple) and not isinstance(parsed, (list, tuple)):
                parsed = [_guess(part) for part in str(value).split(",")]
            if kind is dict and not isinstance(parsed, dict):
                raise ValueError("an object like {'a': 1} is expected")
            return kind(parsed)
        return kind(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"argument {name}={value!r} is not a {kind.__name__} (the default is {default!r}): {error}"
        ) from None


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        import ast

        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text


def _guess(text: str) -> Any:
    text = text.strip() if text.strip() else text
    low = text.lower()
    if low in ("none", "null"):
        return None
    if low in ("true", "false"):
        return low == "true"
    for kind in (int, float):
        if "_" in text:  # 2024_01 is a name
            break
        try:
            return kind(text)
        except ValueError:
            pass
    if text[:1] in "[{(":
        return _literal(text)
    return text
