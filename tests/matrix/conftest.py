"""Toys of whole model families, each written once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from toy_generators import saved


@pytest.fixture(scope="session")
def toy_generator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family of generators."""
    import torch

    torch.set_num_threads(1)
    return cache(lambda name: saved(name, tmp_path_factory.mktemp(name)))
