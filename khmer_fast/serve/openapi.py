"""What `/openapi.json` says: the routes, and the document's own schema for pages and lines."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from khmer_fast.formats.json_schema import schema as document_schema

_DEFINITIONS = "#/components/schemas/"
_TEXT = "ព្រះរាជាណាចក្រកម្ពុជា"
_BOX = [120, 340, 980, 396]
_EXAMPLES: dict[str, Any] = {
    "Line": {
        "text": _TEXT, "confidence": 0.95, "box": _BOX, "baseline": [[120, 380], [980, 380]],
        "polygon": [], "words": [{"text": _TEXT, "confidence": 0.95, "box": _BOX}],
        "characters": [], "alternatives": [{"text": _TEXT[:-1], "score": -2.3}], "flags": [],
    },
}  # fmt: skip
_EXAMPLES["Page"] = {
    "revision": 1, "number": 1, "width": 1188, "height": 1754,
    "regions": [{"kind": "text", "box": _BOX, "lines": [_EXAMPLES["Line"]], "cells": []}],
}  # fmt: skip


def of_document(name: str) -> dict[str, Any]:
    """The content of an answer or a body that is a part of a document, such as "Page"."""
    content = {"schema": {"$ref": _DEFINITIONS + name}, "example": _EXAMPLES[name]}
    return {"content": {"application/json": content}}


def describe(app: FastAPI) -> None:
    """Lets the application's OpenAPI hold the document's schema, too."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            parts = json.dumps(document_schema()["$defs"]).replace("#/$defs/", _DEFINITIONS)
            found["components"]["schemas"].update(json.loads(parts))
            page = found["components"]["schemas"]["Page"]
            page["properties"]["revision"] = {"type": "integer"}
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
