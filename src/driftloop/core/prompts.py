"""What a model is asked: a text with named fields, from the config or from a file. Our own wording stands in the yamls.

`{words}` is an option beside the prompt. `{concepts}` and `{concept_kind}` are what the seeds of the data set show, before
any limit; `told` fills them in when an experiment is composed, so that they travel and count as plain data. Only what a
prompt names is filled in. `{{` and `}}` stand for braces.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from driftloop.core.errors import nearest

OF_THE_DATA = ("concepts", "concept_kind")
FIELDS = (*OF_THE_DATA, "words")


def rendered(prompt: str | None, prompt_file: str | None = None, **fields: str | int | Sequence[str] | None) -> str | None:
    """The prompt with its fields filled in; a file comes before a text. Lists are said with commas; None is no prompt.

    Raises ValueError for a field that is unknown, or known and not given.
    """
    template = text_of(prompt, prompt_file)
    if template is None:
        return None
    for name in named(template):
        if fields.get(name) is None:
            raise ValueError(f"the prompt names {{{name}}}, and `{name}` is not given")
    return template.format_map({name: _said(value) for name, value in fields.items()}).strip()


def named(template: str) -> set[str]:
    """The fields that a text names. Raises ValueError for one that is not among FIELDS."""
    found = set[str]()
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if name not in FIELDS or form or conversion:
            allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise ValueError(
                f"the prompt has a field {{{name}}}; it may have {allowed}, plainly.{nearest(name, FIELDS)} "
                "A brace of the text itself is doubled."
            )
        found.add(name)
    return found


def text_of(prompt: str | None, prompt_file: str | None) -> str | None:
    """The text before its fields are filled in."""
    if prompt_file is None:
        return prompt
    try:
        return Path(prompt_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"prompt_file {prompt_file!r} cannot be read as UTF-8 text: {error}") from error


def told(call: Any, known: Callable[[str], Any]) -> Any:
    """A plug-in's call, and those inside it, with prompt files read and what their prompts ask of the data set filled in.

    So identity holds the words of a prompt, wherever they came from. `known` gives the value of a field OF_THE_DATA.
    """
    if not isinstance(call, Mapping):
        return call
    node = {key: told(value, known) for key, value in call.items()}
    if "prompt" not in node and "prompt_file" not in node:
        return node
    template = text_of(node.get("prompt"), node.get("prompt_file"))
    asked = [name for name in OF_THE_DATA if name in named(template or "") and node.get(name) is None]
    read = {} if node.get("prompt_file") is None else {"prompt": template, "prompt_file": None}
    return node | read | {name: known(name) for name in asked}


def _said(value: str | int | Sequence[str] | None) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)
