"""The effect of a caller's permissions on its requests, and on the models that it sees."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from motet.core.caller import Caller
from motet.core.errors import AccessError, Reason
from motet.core.request import PRIORITIES, GenerationRequest
from motet.core.service import Model


def permitted_request(
    request: GenerationRequest, caller: Caller, model: str, outputs: Collection[str]
) -> GenerationRequest:
    """Return the request as the caller may make it.

    `model` is the model of a request that names none, and `outputs` are the modalities that it generates. The tenant of
    an authenticated caller replaces the tenant of the request. A request that leaves the modalities open gets those of
    the caller, and a priority above the caller's maximum is lowered. Raises `AccessError` for a model, and for an
    explicitly allowed modality, that the caller may not use.
    """
    name = request.model or model
    if not caller.may_use_model(name):
        raise AccessError(
            f"these credentials do not permit the model {name!r}; request another model, or use other credentials",
            Reason.MODEL_NOT_PERMITTED,
            {"model": name},
        )
    for modality in sorted(request.allowed_modalities or ()):
        if not caller.may_request(modality):
            raise AccessError(
                f"these credentials do not permit {modality!r}; leave it out, or use other credentials",
                Reason.MODALITY_NOT_PERMITTED,
                {"modality": modality},
            )
    allowed = request.allowed_modalities
    if allowed is None and caller.modalities is not None:
        allowed = caller.modalities.intersection(outputs)
    # The admission refuses a priority that no request may have.
    priority = min(request.priority, caller.max_priority) if request.priority in PRIORITIES else request.priority
    return replace(request, tenant=caller.tenant or request.tenant, allowed_modalities=allowed, priority=priority)


def permitted_models(models: Collection[Model], caller: Caller) -> list[Model]:
    """Return the models that the caller may use, with the outputs that it may request."""
    return [
        replace(model, outputs=tuple(output for output in model.outputs if caller.may_request(output.modality)))
        for model in models
        if caller.may_use_model(model.name)
    ]
