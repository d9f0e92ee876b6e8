"""Some chains as filmstrips, where single seeds may be shown."""

from __future__ import annotations

from collections.abc import Iterator

from driftloop.report.material import Material
from driftloop.report.parts import Block, Filmstrips, Section, Text
from driftloop.report.strips import strips

CLOSED = (
    "No picture and no caption of a single seed is shown: this data set may not be passed on. Show them to yourself with "
    "show_seeds=true."
)
ASKED = "Single seeds are shown because this run was asked to (show_seeds=true). Do not pass this page on."
READ = (
    "Concepts in turn, seeds in the order they were taken in: chosen without a look at what they show. Under each picture what "
    "the first instrument reads (with its probability; orange where it changed) and what the captioner says; that caption "
    "makes the next picture."
)


def section(material: Material) -> Section:
    return Section("chains", "Chains", "Some chains", list(blocks(material)))


def blocks(material: Material) -> Iterator[Block]:
    if not material.shown:
        yield Text(CLOSED)
        return
    if not material.open_seeds:
        yield Text(ASKED, "warning")
    found = strips(material.perceived)
    yield Text(READ, "note") if found else Text("No chain is shown.")
    yield Filmstrips(found)
