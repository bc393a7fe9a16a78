"""The check of the confinement's layers in a real child."""

from __future__ import annotations

import json
import subprocess

from motet.media.child_command import ENVIRONMENT, child_command
from motet.media.confinement.dumpable import dumps_state
from motet.media.confinement.layers import Layer, States
from motet.media.confinement.system_calls import compiled_filter

_TIMEOUT = 60.0
"""Maximum time for the child, in seconds. It starts in 0.1 s on an idle machine."""


def check_layers() -> States:
    """Start a child that confines itself as a decoding child does, and return the state of each layer.

    This takes some 0.1 s, so an event loop calls it in a thread.
    """
    states = dict.fromkeys(Layer, "")
    states |= _states_of_child()
    states[Layer.NONDUMPABLE] = dumps_state()
    try:
        compiled_filter()
    except OSError as error:
        # The child only knows that it got no filter.
        states[Layer.SECCOMP] = str(error.strerror)
    return states


def _states_of_child() -> States:
    try:
        child = subprocess.run(
            child_command("report"), capture_output=True, timeout=_TIMEOUT, env=ENVIRONMENT, cwd="/", check=True
        )
        return {Layer(name): str(reason) for name, reason in json.loads(child.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return dict.fromkeys(Layer, f"the check of the layers failed: {error}")
