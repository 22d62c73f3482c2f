"""TOML tables into frozen dataclasses: every key and type is checked against the dataclass's annotations.

An unknown key, a missing one or a value of the wrong type is refused with one line naming section, key, value, what is
allowed and the remedy. Ranges are the dataclasses' own business, in `__post_init__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hews_gpu.errors import UserError, did_you_mean
from hews_gpu.own_files import named, parse_toml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["build", "build_file", "require"]

T = TypeVar("T", bound="DataclassInstance")


def require(ok: bool, key: str, value: object, allowed: str, remedy: str = "") -> None:
    """Refuse a value unless `ok`.

    Raises:
        UserError: names the key, the value and what is allowed.
    """
    if not ok:
        raise UserError(key, value, allowed=allowed, remedy=remedy)


def build(kind: type[T], content: Mapping[str, Any], *, section: str, extra: Mapping[str, Any] | None = None) -> T:
    """Make dataclass `kind` from a TOML table, checking each key and type."""
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind) if f.name not in (extra or {})}
    for key in content:
        if key not in known:
            where = f"[{section}] {key}" if section else f"[{key}]"
            raise UserError(where, allowed="is not a known key", remedy=did_you_mean(key, known))
    values: dict[str, Any] = dict(extra or {})
    for key, spec in known.items():
        where = f"[{section}] {key}" if section else f"[{key}]"
        if key in content:
            values[key] = _coerce(hints[key], content[key], where)
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise UserError(where, allowed="is missing")
    return kind(**values)


def build_file(kind: type[T], text: str, file: str, *, example: str, extra: Mapping[str, Any]) -> T:
    """Make dataclass `kind` from the text of a TOML file, which errors name; `example` says where each key is shown."""
    content = parse_toml(text, file)
    with named(file, example):
        return build(kind, content, section="", extra=extra)


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """Check one value against a type hint; lists become tuples, tables become dataclasses or dicts."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _coerce_union(args, value, where)
    if origin is Literal:
        require(value in args, where, value, f"must be one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        return _coerce_tuple(args, value, where)
    if origin is Mapping:
        require(isinstance(value, dict), where, value, "must be a table of keys and values")
        return {key: _coerce(args[1], item, f"{where} {key}") for key, item in value.items()}
    if hasattr(hint, "__dataclass_fields__"):
        require(isinstance(value, dict), where, value, "must be a section of keys and values")
        return build(hint, value, section=where.replace("[", "").replace("] ", ".").strip("]"))
    return _coerce_scalar(hint, value, where)


def _coerce_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    problems: list[UserError] = []
    for option in args:
        if option is type(None):
            continue
        try:
            return _coerce(option, value, where)
        except UserError as error:
            problems.append(error)
    allowed = " or ".join(dict.fromkeys(p.allowed for p in problems))
    raise problems[0] if len(problems) == 1 else UserError(where, value, allowed=allowed)


def _coerce_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    require(isinstance(value, list), where, value, "must be a list in square brackets")
    if args[-1] is not Ellipsis:
        require(len(value) == len(args), where, value, f"must hold exactly {len(args)} values")
        return tuple(_coerce(option, item, where) for option, item in zip(args, value, strict=True))
    return tuple(_coerce(args[0], item, where) for item in value)


SCALARS = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def _coerce_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    ok = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    require(ok, where, value, f"must be {SCALARS[hint]}")
    return value
