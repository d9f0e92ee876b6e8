"""A run of instant stand-in models over made-up prompts, so that what is timed is driftloop and nothing else."""

from __future__ import annotations

from pathlib import Path

ROUNDS = 5


def stand_ins(folder: Path, chains: int, rounds: int = ROUNDS) -> list[str]:
    """Writes the prompts into `folder`, unless they are there; the words of the command that plays them."""
    prompts = folder / "prompts.txt"
    if not prompts.exists():
        prompts.write_text("".join(f"a photo of person number {number}\n" for number in range(chains)))
    return [
        "experiment=none",
        "generator=stand_in",
        "captioner=stand_in",
        "dataset=prompts",
        f"dataset.file={prompts}",
        f"rounds={rounds}",
        "stages=[play]",
    ]
