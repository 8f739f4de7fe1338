"""The schemas of messages, which msgspec owns, in OpenAPI's words."""

from typing import Any

import msgspec

from contract.codec import Message

_REF = "#/components/schemas/{name}"


def schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever msgspec takes for a type
    """Return a type's JSON Schema, whole: without references to parts elsewhere.

    The version that every message carries is left out: who does not send it means the present one.
    """
    (made,), parts = msgspec.json.schema_components([kind], ref_template=_REF)
    for part in parts.values():
        if part.get("properties", {}).get("v") == {"type": "integer", "default": Message().v}:
            part["properties"]["v"] = {"type": "integer", "const": Message().v}
    found: dict[str, Any] = _whole(made, parts)
    return found


def body(kind: Any, example: object, description: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Return what ``openapi_extra`` says of a request's body."""
    content = {"application/json": {"schema": schema(kind), "example": example}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def answer(kind: Any, description: str) -> dict[str, Any]:  # noqa: ANN401
    """Return what ``responses`` says of an answer."""
    return {"description": description, "content": {"application/json": {"schema": schema(kind)}}}


def _whole(node: Any, parts: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(node, list):
        return [_whole(each, parts) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _whole(parts[node["$ref"].rpartition("/")[2]], parts)
    return {key: _whole(value, parts) for key, value in node.items()}
