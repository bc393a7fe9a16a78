"""Secrets in protobuf, as Helm stores its releases. Field numbers are those of Kubernetes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
"""The first bytes of each object. A message `Unknown` with the object follows."""
_MAPS = {"labels": "TYPE_STRING", "data": "TYPE_BYTES"}


def secret_of(encoded: bytes) -> dict[str, Any]:
    """Return a Secret as its JSON object, with the fields that Helm sets. Raises `ValueError` for another kind."""
    assert encoded.startswith(_MAGIC)
    unknown = _message("Unknown").FromString(encoded.removeprefix(_MAGIC))
    if unknown.typeMeta.kind != "Secret":
        raise ValueError(f"{unknown.typeMeta.kind} is no Secret")
    fields = MessageToDict(_message("Secret").FromString(unknown.raw))
    return {"apiVersion": "v1", "kind": "Secret", **json.loads(json.dumps(fields))}


@cache
def _message(name: str) -> Any:
    pool = DescriptorPool()
    pool.Add(_file())
    return GetMessageClass(pool.FindMessageTypeByName(f"double.{name}"))


def _file() -> FileDescriptorProto:
    """Return the messages around a Secret."""
    messages = [
        _fields("TypeMeta", apiVersion=(1, ""), kind=(2, "")),
        _fields("Unknown", typeMeta=(1, "TypeMeta"), raw=(2, "bytes")),
        _fields("ObjectMeta", name=(1, ""), resourceVersion=(6, ""), labels=(11, "map")),
        _fields("Secret", metadata=(1, "ObjectMeta"), data=(2, "map"), type=(3, "")),
    ]
    return ParseDict(
        {"name": "double.proto", "package": "double", "syntax": "proto3", "messageType": messages},
        FileDescriptorProto(),
    )


def _fields(message: str, **fields: tuple[int, str]) -> dict[str, Any]:
    """Return a message whose fields have a number and a type: a string, bytes, a map or another message."""
    entries = []
    found = []
    for name, (number, kind) in fields.items():
        field: dict[str, Any] = {"name": name, "jsonName": name, "number": number, "label": "LABEL_OPTIONAL"}
        if kind == "map":
            entry = f"{name.capitalize()}Entry"
            key, value = (
                {"name": each, "number": index, "label": "LABEL_OPTIONAL"}
                for index, each in enumerate(("key", "value"), 1)
            )
            pair = [{**key, "type": "TYPE_STRING"}, {**value, "type": _MAPS[name]}]
            entries.append({"name": entry, "field": pair, "options": {"mapEntry": True}})
            field |= {"label": "LABEL_REPEATED", "type": "TYPE_MESSAGE", "typeName": f".double.{message}.{entry}"}
        elif kind in ("", "bytes"):
            field["type"] = "TYPE_BYTES" if kind else "TYPE_STRING"
        else:
            field |= {"type": "TYPE_MESSAGE", "typeName": f".double.{kind}"}
        found.append(field)
    return {"name": message, "field": found, "nestedType": entries}
