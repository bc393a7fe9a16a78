"""Marks for tests that need the packages of the training data."""

from __future__ import annotations

import shutil

import pytest

from motet.training.nano.world import pictures

needs_emoji = pytest.mark.skipif(
    not (pictures.folder() / "emoji-datasource-google").exists(), reason="the emoji packages are not installed"
)
needs_fluidsynth = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="fluidsynth is not installed")
