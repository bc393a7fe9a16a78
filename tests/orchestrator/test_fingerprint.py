"""Tests of request fingerprints."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from motet.core.media import Media
from motet.core.request import ArtifactName, DecoderOptions, FailurePolicy, GenerationRequest, Message
from orchestrator.fingerprint import fingerprint

REQUEST = GenerationRequest(
    (Message("user", ("hello", Media("x/a", b"a"), ArtifactName("artifacts/x"))),),
    allowed_modalities=frozenset("abc"),
    max_parts={"a": 1, "b": 2},
    decoder_options={"a": DecoderOptions(1), "b": DecoderOptions(2)},
)
OTHERS = {
    "turns": (Message("user", ("hello", Media("x/a", b"b"), ArtifactName("artifacts/x"))),),
    "model": "other",
    "request_id": "other",
    "allowed_modalities": frozenset("ab"),
    "failure_policy": FailurePolicy.TEXT_FALLBACK,
    "seed": 1,
    "detach": True,
    "previews": True,
    "max_output_tokens": 5,
    "max_parts": {"a": 2, "b": 2},
    "temperature": 0.5,
    "top_p": 0.5,
    "decoder_options": {"a": DecoderOptions(1), "b": DecoderOptions(2, 3.0)},
    "tenant": "other",
    "priority": 1,
}


def test_the_order_of_mappings_does_not_change_the_fingerprint():
    reordered = replace(
        REQUEST, max_parts={"b": 2, "a": 1}, decoder_options=dict(reversed(REQUEST.decoder_options.items()))
    )

    assert fingerprint(reordered) == fingerprint(replace(REQUEST))


def test_the_timeout_does_not_change_the_fingerprint():
    assert fingerprint(replace(REQUEST, timeout=3.0)) == fingerprint(REQUEST)


def test_all_other_fields_are_tested_here():
    assert OTHERS.keys() | {"timeout"} == {field.name for field in fields(GenerationRequest)}


@pytest.mark.parametrize("field", OTHERS)
def test_every_other_field_changes_the_fingerprint(field):
    assert fingerprint(replace(REQUEST, **{field: OTHERS[field]})) != fingerprint(REQUEST)


def test_no_allowed_modality_and_all_allowed_modalities_differ():
    assert fingerprint(replace(REQUEST, allowed_modalities=None)) != fingerprint(
        replace(REQUEST, allowed_modalities=frozenset())
    )
