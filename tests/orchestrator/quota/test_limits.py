"""The operator's file of quotas."""

from __future__ import annotations

import pytest

from motet.core.errors import SettingsError
from orchestrator.quota.limits import QuotaLimits, parse_quota_classes


def test_a_file_has_limits_by_class() -> None:
    text = b"default:\n  running_generations: 4\nlarge:\n  decoder_seconds_per_minute: {image: 60}\n"

    assert parse_quota_classes(text, "quotas.yaml", ("image",)) == {
        "default": QuotaLimits(running_generations=4),
        "large": QuotaLimits(decoder_seconds_per_minute={"image": 60}),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: {running_generations: 0}", "default.running_generations is wrong"),
        ("default: {tokens_per_minute: -1}", "default.tokens_per_minute is wrong"),
        ("default: {tokens_per_minute: .inf}", "default.tokens_per_minute is wrong"),
        ("default: {requests: 1}", "default.requests is wrong"),
        (
            "default: {token_per_minute: 1}",
            "default.token_per_minute is wrong: there is no such key; the nearest is tokens_per_minute",
        ),
        ("default: {decoder_seconds_per_minute: {image: 0}}", "default.decoder_seconds_per_minute.image is wrong"),
        (
            "a: {decoder_seconds_per_minute: {vide: 1}}",
            "a.decoder_seconds_per_minute.vide is wrong: the model does not generate it; the nearest is video",
        ),
        ("Large Class: {}", "Large Class.* is wrong"),
        ("[1]", "the document is wrong"),
        ("a: &x {}\nb: *x", "instead of an alias"),
        ("a: {", "correct line"),
        ("# " + "x" * 2**18, "larger than"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_quota_classes(text.encode(), "quotas.yaml", ("image", "video"))
