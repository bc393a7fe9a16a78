"""The schema and the README of the Helm chart, from the comments of its values.yaml and from the settings of Motet.

The comment above a key describes the key. These lines of a comment add to the schema:

    @schema JSON       the keywords of JSON Schema; with `"additionalProperties": true`, any keys are valid
    @settings          settings that every worker has; with `orchestrator`, those of the orchestrator
    @workers           a map from names to `kind`, `modality`, `testPrompt` and the keys of `defaults`
    @like PATH         keys without a comment have the description and the schema of the same key at PATH
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

Schema = dict[str, Any]

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "motet"
WORKER_KINDS = ("encoder", "llm", "decoder")

COMPUTED = frozenset(
    [
        "listen",
        "log_level_file",
        "metrics",
        "metrics_tls",
        "grace",
        "bundle",
        "allow_insecure",
        "allow_insecure_metrics",
        "tls_cert",
        "tls_key",
        "tls_client_ca",
        "tls_ca",
        "tls_worker_cert",
        "tls_worker_key",
        "scaler_listen",
        "scaler_client_ca",
        "encoder",
        "language_model",
        "decoders",
        "keys",
        "quotas",
        "modality",
    ]
)
"""Settings that the templates compute from other values."""

_KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):( |$)")
_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
_IDENTITY: Mapping[str, Schema] = {
    "kind": {"enum": list(WORKER_KINDS), "description": "Kind of the worker, as in `motet serve KIND`."},
    "modality": {
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]{0,31}$",
        "description": "Modality of a decoder's media, one of the bundle's.",
    },
    "testPrompt": {
        "type": "string",
        "description": "Prompt of `helm test`, which has to get one file of the modality.",
    },
}


@dataclass(frozen=True, slots=True)
class Comment:
    """The description of a key, and its directives by name."""

    text: str
    directives: Mapping[str, str]


class ChartReference:
    """The generated files of the chart. `services` are the settings classes by kind."""

    def __init__(self, services: Mapping[str, type[BaseSettings]]) -> None:
        self._services = services
        text = (CHART / "values.yaml").read_text()
        self._values: dict[str, Any] = yaml.safe_load(text)
        self._comments = _comments(text)
        self._defaults: Schema = {}

    def schema(self) -> str:
        """Return the text of values.schema.json."""
        schema = self._object((), self._values)
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of Motet", **schema}
        # Helm adds `global` for charts that contain this one.
        schema["properties"]["global"] = {"type": "object"}
        return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"

    def readme(self) -> str:
        """Return the text of README.md."""
        rows = ["| value | default | meaning |", "|---|---|---|"]
        for path, comment in self._comments.items():
            value = _at(self._values, path)
            default = "" if isinstance(value, dict) and value else f"`{json.dumps(value, ensure_ascii=False)}`"
            free = self._is_free(comment)
            if free and isinstance(value, dict) and value:
                default = f"`{json.dumps(value, ensure_ascii=False)}`"
            rows.append(f"| `{'.'.join(path)}` | {_cell(default)} | {_cell(comment.text)} |")
        for name, schema in _IDENTITY.items():
            rows.append(f"| `workers.NAME.{name}` |  | {_cell(schema['description'])} |")
        rows.append("| `workers.NAME.KEY` |  | Each key of `defaults`. |")
        head = (CHART / "README.md.in").read_text()
        return f"{head.rstrip()}\n\n" + "\n".join(rows) + "\n"

    def _object(self, path: tuple[str, ...], values: Mapping[str, Any]) -> Schema:
        properties = {key: self._property((*path, key), value) for key, value in values.items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def _property(self, path: tuple[str, ...], value: Any) -> Schema:
        comment = self._comment_of(path)
        if "settings" in comment.directives:
            kind = comment.directives["settings"]
            schema = self._settings([kind] if kind else WORKER_KINDS)
        elif "workers" in comment.directives:
            schema = self._workers()
        elif isinstance(value, dict) and not self._is_free(comment):
            schema = self._object(path, value) if value else {"type": "object", "additionalProperties": True}
        elif isinstance(value, dict):
            schema = {"type": "object"}
        else:
            schema = {"type": _TYPES[type(value)]}
        schema |= json.loads(comment.directives.get("schema", "{}"))
        if comment.text:
            schema["description"] = comment.text
        if path == ("defaults",):
            self._defaults = schema
        return schema

    def _workers(self) -> Schema:
        worker = deepcopy(self._defaults)
        worker["properties"] = {**deepcopy(dict(_IDENTITY)), **worker["properties"], "settings": {"type": "object"}}
        worker["required"] = ["kind"]
        worker["description"] = "A worker: its kind, and values that are merged over `defaults`."
        worker["allOf"] = [
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": {"properties": {"settings": self._settings([kind])}},
            }
            for kind in WORKER_KINDS
        ]
        names = {"pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$", "maxLength": 20}
        return {"type": "object", "propertyNames": names, "additionalProperties": worker}

    def _settings(self, kinds: list[str] | tuple[str, ...]) -> Schema:
        """Return the schema of the settings that all of these kinds have."""
        first, *others = (self._services[kind].model_json_schema()["properties"] for kind in kinds)
        names = [name for name in first if name not in COMPUTED and all(name in each for each in others)]
        properties = {
            name: {key: value for key, value in first[name].items() if key not in ("title", "default", "metavar")}
            for name in names
            if not first[name].get("hidden")
        }
        return {"type": "object", "additionalProperties": False, "properties": properties}

    def _comment_of(self, path: tuple[str, ...]) -> Comment:
        """Return the comment of a key, or of the key that it is like. Raises `ValueError` for a key without one."""
        if path in self._comments:
            return self._comments[path]
        like = self._comments.get(path[:1], Comment("", {})).directives.get("like")
        if like and (like, *path[1:]) in self._comments:
            return self._comments[(like, *path[1:])]
        raise ValueError(f"values.yaml: {'.'.join(path)} has no comment: describe it in the line above")

    @staticmethod
    def _is_free(comment: Comment) -> bool:
        return '"additionalProperties"' in comment.directives.get("schema", "")


def _comments(text: str) -> dict[tuple[str, ...], Comment]:
    """Return the comment of each key that has one, in the order of the file."""
    found: dict[tuple[str, ...], Comment] = {}
    lines: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            lines.append(line.lstrip().removeprefix("#").strip())
        elif match := _KEY.match(line):
            path[len(match[1]) // 2 :] = [match[2]]
            if lines:
                found[tuple(path)] = _comment(lines)
            lines = []
        else:
            lines = []
    return found


def _comment(lines: list[str]) -> Comment:
    directives = {words[0][1:]: words[2] for line in lines if (words := line.partition(" "))[0].startswith("@")}
    return Comment(" ".join(line for line in lines if not line.startswith("@")), directives)


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def chart_files(services: Mapping[str, type[BaseSettings]]) -> Iterator[tuple[str, str]]:
    """Yield the path from the folder docs and the text of each generated file of the chart."""
    reference = ChartReference(services)
    yield "../deploy/helm/motet/values.schema.json", reference.schema()
    yield "../deploy/helm/motet/README.md", reference.readme()
