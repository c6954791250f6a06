"""The JSON schema of a document, from the dataclasses themselves.

`python -m khmer_fast.formats.json_schema > docs/document.schema.json` writes it anew.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

from khmer_fast import document as document_module
from khmer_fast.document import Document
from khmer_fast.formats.json import VERSION


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of what `formats.json` writes and reads."""
    definitions: dict[str, Any] = {}
    root = _object(Document, definitions)
    root["properties"] = {"version": {"const": VERSION}, **root["properties"]}
    root["required"] = ["version", *root["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "khmer_fast document",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, vars(document_module))
    fields = dataclasses.fields(kind)
    return {
        "description": " ".join((kind.__doc__ or "").split()),
        "type": "object",
        "properties": {field.name: _type(hints[field.name], definitions) for field in fields},
        "required": [field.name for field in fields if field.default is dataclasses.MISSING],
        "additionalProperties": False,
    }


def _type(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        kind = typing.cast(type, kind)
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_type(argument, definitions) for argument in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": _type(arguments[0], definitions)}
    if origin is tuple:
        parts = [_type(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}
    return {"type": {str: "string", int: "integer", float: "number", type(None): "null"}[kind]}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
