"""Where models stand while another one works: all on their devices, or one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from driftloop.core.errors import out_of_memory
from driftloop.core.inventory import here, memory, weights_in
from driftloop.core.weights import ModelError, check_fetched, device_of, folder_of, too_little_memory

Kind = Literal["auto", "resident", "swap"]
KINDS: tuple[str, ...] = get_args(Kind)
Free = Callable[[str], tuple[str, int | None]]
WORKING = 0.25  # of a model's weights: the allowance for what it computes with
OURS = 0.9  # of a device's free memory: what auto is willing to fill


@dataclass(kw_only=True)
class Placement:
    """Brings a model to its device before it works.

    `resident` leaves it there; `swap` first makes room by putting the one before it away: into the machine's memory where
    the model can (`offload()`, which `load()` undoes), else out of it (`unload()`). Rounds are played stage-major, so that is
    one change a stage and round of a wave. `auto` decides at the first call, from the sizes of the weights in `options`
    (constructor calls) and the devices' free memory. It changes no result: weights come back as they were.
    """

    kind: Kind = "resident"
    options: Sequence[Any] = ()
    free: Free = field(default_factory=lambda: free_memory)
    _there: Any = field(default=None, init=False)
    _known: list[Any] = field(default_factory=list, init=False)

    def bring(self, model: Any) -> None:
        """To be said before every call of a model: costs nothing where it is there already. Raises ModelError, at the first
        call also where one of the others is missing."""
        if model is self._there:
            return
        if self._there is None:
            check_there(self.options)
            self.kind = self._decided()
        elif self.kind == "swap":
            put_away(self._there)
        if hasattr(model, "load"):
            _loaded(model)
        self._there = model
        self._known += [model] if not any(model is other for other in self._known) else []

    def clear(self) -> None:
        """Nothing more will be called: the devices are free for what comes next."""
        for model in self._known:
            if hasattr(model, "unload"):
                model.unload()
        self._there, self._known = None, []

    def _decided(self) -> Kind:
        if self.kind != "auto":
            return self.kind
        return "resident" if fits(needs(self.options), self.free) else "swap"


def put_away(model: Any) -> None:
    """Off its device, the gentle way where there is one."""
    for way in ("offload", "unload"):
        if hasattr(model, way):
            getattr(model, way)()
            return


def check_there(calls: Iterable[Any]) -> None:
    """Raises MissingModelError for the first checkpoint that is not here where no network may be used."""
    for weight in {weight: None for call in calls for weight in weights_in(call)}:
        if folder_of(weight.model) is None:
            check_fetched(weight.model, weight.revision, here(weight) is not None)


def needs(calls: Iterable[Any]) -> dict[str, int]:
    """Device -> bytes that the checkpoints named in constructor calls take there together, working memory included; of those
    that are here."""
    whole: dict[str, int] = defaultdict(int)
    for call in calls:
        for weight in weights_in(call):
            found = here(weight)
            if found is not None:
                whole[weight.device] += round((1 + WORKING) * memory(found, weight.dtype))
    return dict(whole)


def fits(needed: Mapping[str, int], free: Free) -> bool:
    """Whether every device has room; one whose free memory cannot be told has. Several names may mean one device."""
    taken: dict[str, int] = defaultdict(int)
    rooms: dict[str, int | None] = {}
    for named, size in needed.items():
        device, room = free(named)
        rooms[device] = room
        taken[device] += size
    return all(room is None or taken[device] <= OURS * room for device, room in rooms.items())


def free_memory(name: str) -> tuple[str, int | None]:
    """The device that a name means and its free bytes; None for a processor, whose memory the system shares out."""
    import torch

    device = device_of(name)
    if device.type != "cuda":
        return str(device), None
    index = torch.cuda.current_device() if device.index is None else device.index
    return f"cuda:{index}", int(torch.cuda.mem_get_info(index)[0])


def _loaded(model: Any) -> None:
    try:
        model.load()
    except Exception as error:
        if out_of_memory(error):
            raise ModelError(too_little_memory(str(getattr(model, "model", type(model).__name__)))) from None
        raise
