"""The built-in models are tested as they ship: from their folders, with nothing fetched."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be fetched."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
