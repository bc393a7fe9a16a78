"""The benchmark `serve`, with fast toys."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.benchmarks.suite import serve


def test_a_server_is_loaded_and_its_wasted_work_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 4, "STEP": 0.005, "TOKEN": 0.001}.items():
        monkeypatch.setattr(serve, name, value)

    report = serve.measure(
        server=None,
        bundle=None,
        rates=(20, 40),
        seconds=0.5,
        trace_file=None,
        prompts=(),
        first_text=None,
        first_media=None,
        total=None,
        hang_up=0.5,
        seed=0,
        plot=tmp_path / "rates.svg",
    )

    load = report.details["loads"][0]
    assert load["succeeded"] + load["cancelled"] + sum(load["failed"].values()) == load["sent"] > 0
    assert report.figure("worker seconds per successful request").value > 0
    assert report.figure("work after cancellation").value < 50
    assert report.figure("cancellation to idle workers beyond one step, p99").bar_text == "<= 1 x"
    assert (tmp_path / "rates.svg").exists()
