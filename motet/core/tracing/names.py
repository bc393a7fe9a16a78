"""The names of spans and their attributes.

Names with the prefix `gen_ai` are those of OpenTelemetry's semantic conventions for generative AI, version 0.1.0, which
are in development: this table is the only place that has them. `motet.*` are our own. Metrics have no name of these.
"""

from __future__ import annotations

from motet.core.tracing.span import Value

CONVENTIONS = "gen_ai v0.1.0"
"""The version of the conventions."""

PROVIDER = "motet"

INVOKE_WORKFLOW = "invoke_workflow"
"""Operation of a generation."""
GENERATE_CONTENT = "generate_content"
"""Operation of the language model, and of a decoder."""
EMBEDDINGS = "embeddings"
"""Operation of the encoder."""
FETCH_RESPONSE = "fetch_response"
"""Operation of a caller that follows a generation that was started before."""

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_SEED = "gen_ai.request.seed"
RESPONSE_ID = "gen_ai.response.id"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

ERROR_TYPE = "error.type"
RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"

REQUEST_ID = "motet.request_id"
STATE = "motet.state"
PART = "motet.part"
MODALITY = "motet.modality"
ITEMS = "motet.items"
STEPS = "motet.steps"
CACHE = "motet.cache"
REPLICA = "motet.replica"
ATTEMPT = "motet.attempt"
HEDGE = "motet.hedge"
BATCH_SIZE = "motet.batch_size"


def operation(name: str, model: str) -> tuple[str, dict[str, Value]]:
    """Return the name and the attributes of the span of an operation with a model."""
    return f"{name} {model}", {OPERATION_NAME: name, PROVIDER_NAME: PROVIDER, REQUEST_MODEL: model}
