"""`motet models`: what can be asked for."""

from __future__ import annotations

import json
from dataclasses import asdict

from motet.core.service import Model
from services.cli.connect import Target, connect
from services.exit_codes import Exit


async def models(whereabouts: Target, as_json: bool) -> Exit:
    """Print the models, one JSON object a line where wanted."""
    async with connect(whereabouts) as motet:
        for model in await motet.models():
            print(json.dumps(asdict(model)) if as_json else _described(model))
    return Exit.OK


def _described(model: Model) -> str:
    lines = [
        f"{model.name}: {model.description}",
        f"  licence  {model.licence}",
        f"  digest   {model.digest}",
        f"  reads    {', '.join(('text', *model.input_modalities))}",
        "  makes    text",
        *(
            f"           {output.modality} ({output.media_type}), {output.steps} steps, "
            f"guidance {output.guidance:g}, at most {output.max_parts} in an answer"
            for output in model.outputs
        ),
    ]
    return "\n".join(lines)
