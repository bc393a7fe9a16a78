"""The builder of a worker's application, with the arguments of a configuration file of Ray."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.ray.worker import build

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray itself uses deprecated parts of pydantic.


def test_the_arguments_of_a_configuration_file_make_the_application_of_a_worker() -> None:
    pytest.importorskip("ray", reason="install motet[ray]")
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    application = call_user_app_builder_with_args_if_necessary(build, {"kind": "llm", "max_running": 3})

    assert application._bound_deployment.max_ongoing_requests == 3


def test_arguments_of_no_worker_are_refused() -> None:
    pytest.importorskip("ray", reason="install motet[ray]")

    with pytest.raises(ValidationError, match="max_runing"):
        build({"kind": "llm", "max_runing": 3})
