"""What driftloop says when something is wrong: one sentence with what was got and what is allowed, no stack."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DriftloopError(Exception):
    """An error of the user's making or surroundings; the command prints its text and exits with 2."""


class ConfigError(DriftloopError):
    """The config cannot be what was meant."""


class IdentityError(DriftloopError):
    """A run folder belongs to another experiment."""


class StoreError(DriftloopError):
    """The run folder could not be read or written."""


class TooManyFailuresError(DriftloopError):
    """More items failed than `on_failure.max_share` allows."""


class Interrupted(DriftloopError):  # noqa: N818 (it is no error: somebody asked to stop, and everything finished is written)
    """SIGTERM or Ctrl-C arrived; the batch was finished and written."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the machine or of a device; libraries that raise something of their own say so in words."""
    names = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).lower()
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "out of memory" in said or "can't allocate memory" in said


def nearest(name: str, allowed: Iterable[str]) -> str:
    """' Did you mean "x"?' for the closest allowed name, or nothing."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""
