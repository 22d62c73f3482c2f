"""What a fit has learned, as arrays and JSON: nothing is pickled, so that reading a file never runs code.

A dataclass becomes a JSON object of its fields; a NumPy array becomes its name in the file's arrays. Reading goes by
the dataclass's annotations, so that a file gives back the very classes, types and bits that were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

__all__ = ["pack", "unpack"]

Arrays = dict[str, np.ndarray[Any, Any]]


def pack(value: Any, arrays: Arrays, name: str = "fitted") -> Any:
    """Return what JSON can hold of a value, and add its arrays to `arrays`.

    Args:
        value: a dataclass, tuple, mapping of text, array, number, text or None, nested at will.
        arrays: by name; added to.
        name: of the value; its arrays are called after it.

    Raises:
        TypeError: something else is in it.
    """
    if isinstance(value, np.ndarray):
        arrays[name] = np.array(value, order="C")  # ascontiguousarray would give a number one dimension
        return {"array": name}
    if is_dataclass(value):
        return {f.name: pack(getattr(value, f.name), arrays, f"{name}.{f.name}") for f in fields(value)}
    if isinstance(value, tuple | list):
        return [pack(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {key: pack(item, arrays, f"{name}.{key}") for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a {type(value).__name__} cannot be stored")


def unpack(hint: Any, content: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """Return the value that `pack` was given.

    Args:
        hint: the annotation it had.
        content: what `pack` returned.
        arrays: by name.

    Raises:
        KeyError, TypeError, ValueError: the content is not of that kind.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return arrays[content["array"]]
    if origin is UnionType:
        (kind,) = (kind for kind in args if kind is not NoneType)
        return None if content is None else unpack(kind, content, arrays)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{f.name: unpack(hints[f.name], content[f.name], arrays) for f in fields(hint)})
    if origin is tuple:
        kinds = [args[0]] * len(content) if args[-1] is Ellipsis else args
        return tuple(unpack(kind, item, arrays) for kind, item in zip(kinds, content, strict=True))
    if origin is list:
        return [unpack(args[0], item, arrays) for item in content]
    if origin in (dict, Mapping):
        return {key: unpack(args[1], item, arrays) for key, item in dict(content).items()}
    if not isinstance(content, int | float if hint is float else hint):
        raise TypeError(f"{content!r} stands where a {hint.__name__} should")
    return content
