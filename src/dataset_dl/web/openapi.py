"""The calls as an OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dataset_dl import __version__
from dataset_dl.model.page import Call


def document(calls: Iterable[Call]) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1) of some calls, and of the stream of changes."""
    paths: dict[str, Any] = {}
    for call in calls:
        paths.setdefault(f"/api/{call.path}", {})[call.method.lower()] = _operation(call)
    paths["/api/events"] = {
        "get": {
            "summary": "Jobs as they change, as server-sent events; Last-Event-ID goes on from a change.",
            "operationId": "events",
            "responses": {"200": {"description": "A stream.", "content": {"text/event-stream": {}}}},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "dataset-dl", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
                    "required": ["error"],
                }
            },
        },
        "security": [{"token": []}],
    }


def _operation(call: Call) -> dict[str, Any]:
    words = re.findall(r"{(\w+)}", call.path)
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    found: dict[str, Any] = {
        "summary": call.about,
        "operationId": re.sub(r"\W+", "_", f"{call.method.lower()} {call.path}").strip("_"),
        "parameters": [
            {
                "name": word,
                "in": "path",
                "required": True,
                "description": call.parameters.get(word, ""),
                "schema": {"type": "string"},
            }
            for word in words
        ],
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {}}},
            "400": {"description": "The request is wrong; nothing was changed.", "content": problem},
        },
    }
    if call.rights is not None:
        found["x-rights"] = [each._asdict() for each in call.rights]
    if call.takes:
        content = {each: {"schema": {"type": "string", "format": "binary"}} for each in call.takes}
        found["requestBody"] = {"content": content}
    rest = {name: about for name, about in call.parameters.items() if name not in words}
    if call.method == "GET" or call.takes:
        found["parameters"] += [
            {
                "name": name,
                "in": "query",
                "description": about,
                "schema": {"type": "array", "items": {"type": "string"}},
            }
            for name, about in rest.items()
        ]
    elif rest:
        properties = {name: {"description": about} for name, about in rest.items()}
        schema = {"type": "object", "properties": properties}
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return found
