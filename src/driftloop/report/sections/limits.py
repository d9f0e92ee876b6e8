"""What the numbers do not say."""

from __future__ import annotations

from driftloop.report import words
from driftloop.report.material import Material
from driftloop.report.parts import Bullets, Section


def section(material: Material) -> Section:
    cartoon = "dataset" in material.seeds and "phantom" in set(material.seeds["dataset"])
    lines = words.limits(cartoon=cartoon, licensed=not material.open_seeds)
    return Section("limits", "Limits", "What these numbers do not say", [Bullets(lines)])
