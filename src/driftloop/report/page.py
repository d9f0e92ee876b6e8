"""Puts a page together: its sections in reading order, and their figures drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from driftloop.report import figures, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Drawn, Figure, Section
from driftloop.report.sections import (
    answer,
    audit,
    captions,
    card,
    chains,
    closed_form,
    concepts,
    coverage,
    distances,
    drift,
    dynamics,
    instrument,
    limits,
    meaning,
    probes,
    published,
    trend,
    years,
)

if TYPE_CHECKING:
    from driftloop.report.parts import Make

SECTIONS = (
    answer, coverage, instrument, audit, captions, probes, dynamics, meaning, drift, trend, years, closed_form, concepts,
    published, distances, chains, card, limits,
)  # fmt: skip
"""In reading order: the answer, what it rests on, what moved it, and then the details."""


def page(material: Material) -> tuple[str, list[Drawn]]:
    """The page, and the figures in it."""
    found = [section for each in SECTIONS if (section := each.section(material)) is not None]
    sections = [replace(section, blocks=drawn(section)) for section in found]
    figures_ = [block for section in sections for block in section.blocks if isinstance(block, Drawn)]
    return render("template.html.j2", {**header(material.perceived), "sections": sections}), figures_


def header(material: Material) -> dict[str, Any]:
    names, rounds = material.manifest["names"], material.rounds
    last = int(rounds["round"].max()) if len(rounds) else 0
    attributes = words.joined([f"perceived {name}" for name in material.attributes])
    return {
        "title": words.readable(f"Drift of {attributes or 'perceived attributes'}: {names['dataset']}", 120),
        "run_id": material.store.run_id,
        "experiment": material.experiment.name,
        "facts": [
            ("data set", f"{names['dataset']}: {words.counted(rounds['seed_id'].nunique(), 'seed')}"),
            ("chains", f"{rounds['chain'].nunique():,} (× {words.counted(rounds['replicate'].nunique(), 'replicate')})"),
            ("rounds", str(last)),
            *((part, names[part]) for part in ("generator", "captioner", "mitigation")),
            ("read by", words.joined(material.classifiers) or "nothing yet"),
        ],
    }


def drawn(section: Section) -> list[Block]:
    return [
        draw(block.name, block.caption, block.layouts, block.make) if isinstance(block, Figure) else block
        for block in section.blocks
    ]


def draw(name: str, caption: str, layouts: tuple[figures.Layout, figures.Layout], make: Make) -> Drawn:
    """Draws wide and narrow; the wide one is also what goes into files."""
    wide, narrow = layouts
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    with figures.style(name):
        paper = make(wide)
        file, picture = figures.svg(paper), figures.png(paper)
        small = figures.svg(make(narrow))
    inline = Markup(figures.inline(file, name)), Markup(figures.inline(small, f"{name}-narrow"))  # noqa: S704 (made here)
    return Drawn(name, words.readable(caption, 1000), *inline, round(wide.width * 96), file, picture)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Every value is escaped but figures, which are made here."""
    environment = Environment(
        loader=PackageLoader("driftloop.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=unbroken,
    )  # fmt: skip
    return environment.get_template(template).render(values) + "\n"


def unbroken(value: Any) -> Any:
    """No line ends between a number and its per cent sign, or within n = 3."""
    return (
        re.sub(r"(?<=\d) (?=%)|(?<=\b[np]) (?=[=<] )|(?<=\b[np] [=<]) ", "\u00a0", value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )
