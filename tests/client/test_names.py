"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import motet
import motet.client


def test_the_package_has_the_names_of_the_client() -> None:
    public = {name for name in vars(motet.client) if not name.startswith("_")}
    modules = {"os", "client", "connection", "artifacts", "conversation", "event_checker", "loop_thread", "sync"}

    assert public - modules - {"sync_stream", "credentials"} == set(motet.__all__) == set(dir(motet))
    assert all(getattr(motet, name) is getattr(motet.client, name) for name in motet.__all__)


def test_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        from motet import Penguin  # type: ignore[attr-defined]  # noqa: F401


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import motet; print(*sorted(set(sys.modules) - before))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name for name in result.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert loaded == {"motet"}
