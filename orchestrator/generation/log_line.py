"""The log line of a generation that ended. It has no text, prompt or media."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from motet.core.events import Event, Generation, PartDone, PartFailed, PartStarted
from motet.core.logs.log_fields import LogFields
from motet.core.logs.tenant_hash import tenant_hash

_LOG = logging.getLogger(__name__)


def log_generation(record: Generation, events: Iterable[Event], tenant: str, fields: Mapping[str, LogFields]) -> None:
    """Write the line of a generation from its record and its events. `fields` has more, by part id or modality."""
    if not _LOG.isEnabledFor(logging.INFO):
        return
    usage = record.usage
    line = {
        "generation": record.name,
        "outcome": record.state.name.lower(),
        "reason": record.error.reason.value if record.error else "",
        "tenant": tenant_hash(tenant),
        "seconds": round(usage.elapsed, 6),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "parts": _parts(events, fields),
    }
    _LOG.info("a generation ended", extra=line)


def _parts(events: Iterable[Event], fields: Mapping[str, LogFields]) -> list[dict[str, str | float]]:
    """Return the fields of each part, in the order in which the parts started."""
    parts: dict[str, dict[str, str | float]] = {}
    started: dict[str, float] = {}
    for event in events:
        match event.payload:
            case PartStarted(part_id, _, modality):
                more = fields.get(part_id) or fields.get(modality, {})
                parts[part_id] = {"id": part_id, "modality": modality, **more}
                started[part_id] = event.time
            case PartDone(part_id):
                parts[part_id] |= {"outcome": "done", "seconds": round(event.time - started[part_id], 6)}
            case PartFailed(part_id, error):
                seconds = round(event.time - started[part_id], 6)
                parts[part_id] |= {"outcome": "failed", "reason": error.reason.value, "seconds": seconds}
    return list(parts.values())
