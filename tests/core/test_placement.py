"""Where models stand: one change a stage and round, never one a picture, and no result depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import doubles
from comparing import answers
from driftloop.core.errors import ConfigError
from driftloop.core.placement import Placement, check_there, fits, needs, put_away
from driftloop.core.records import Caption, Picture
from driftloop.core.weights import MissingModelError, ModelError, device_of
from driftloop.engines.local import players
from driftloop.stages.play import Play, Players

MOVES: list[str] = []


class Movable:
    """Counts what is done to it; on a device of its own making, which holds one model when it is `small`."""

    on_device: set[str] = set()  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> None:
        if self.name not in Movable.on_device:
            MOVES.append(f"load {self.name}")
        Movable.on_device.add(self.name)

    def unload(self) -> None:
        MOVES.append(f"unload {self.name}")
        Movable.on_device.discard(self.name)

    def working(self) -> None:
        assert self.name in Movable.on_device, f"{self.name} works without being there"


class Gentle(Movable):
    def offload(self) -> None:
        MOVES.append(f"offload {self.name}")
        Movable.on_device.discard(self.name)


class MovingGenerator(doubles.ToyGenerator, Gentle):
    def __init__(self) -> None:
        doubles.ToyGenerator.__init__(self, batch_size=4)
        self.name = "generator"

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        self.working()
        return super().generate(captions, seeds)


class MovingCaptioner(doubles.ToyCaptioner, Movable):
    def __init__(self) -> None:
        doubles.ToyCaptioner.__init__(self, batch_size=4)
        self.name = "captioner"

    def describe(self, images: Sequence[Any], seeds: Sequence[int]) -> list[Caption]:
        self.working()
        return super().describe(images, seeds)


@pytest.fixture(autouse=True)
def _empty_devices() -> None:
    MOVES.clear()
    Movable.on_device.clear()


def moving(ask: Any, kind: Any) -> Any:
    """A finished run of 20 chains × 3 rounds, wave 10, by models that must be there to work."""
    from driftloop.engines.local import Shard, chains_of
    from driftloop.runs import Run
    from driftloop.stages.intake import intake

    asked = ask("dataset.n=20", "rounds=3", f"arm={kind}", "captioner.mute_share=0.1", "on_failure.max_share=1")
    store = asked.store()
    store.claim(asked.identity, asked.names, asked.config)
    from driftloop.core.watch import Watch

    intake(store, asked.seeds, Watch())
    both = Players(
        generator=MovingGenerator(), captioner=MovingCaptioner(), generate_batch=4, describe_batch=4,
        placement=Placement(kind=kind),
    )  # fmt: skip
    Play(store=store, players=both, root_seed=0).run(chains_of(asked, store, Shard()), 3, wave=10)
    both.placement.clear()
    return Run(store.folder)


def test_swapping_is_one_change_a_stage_and_round_of_a_wave(ask: Any) -> None:
    moving(ask, "swap")
    wave = ["load captioner"] + ["unload captioner", "load generator", "offload generator", "load captioner"] * 3
    assert wave + wave[1:] == MOVES[:-2]  # the second wave finds the captioner there
    assert MOVES[-2:] == ["unload captioner", "unload generator"]


def test_resident_models_are_loaded_once_and_results_do_not_depend_on_it(ask: Any) -> None:
    resident = moving(ask, "resident")
    assert MOVES == ["load captioner", "load generator", "unload captioner", "unload generator"]
    swapped = moving(ask, "swap")
    assert answers(resident)["rounds"] == answers(swapped)["rounds"]


BOTH = ({"model": "builtin:generator"}, {"model": "builtin:captioner"})


@pytest.mark.parametrize(("room", "kind"), [(1.0, "swap"), (2.0, "resident"), (None, "resident")])
def test_auto_looks_at_sizes_and_free_memory(room: float | None, kind: str) -> None:
    free = None if room is None else round(room * sum(needs(BOTH).values()))
    placement = Placement(kind="auto", options=BOTH, free=lambda _: ("cuda:0", free))
    placement.bring(object())
    assert placement.kind == kind


def test_two_names_of_one_device_share_its_room_and_two_devices_do_not() -> None:
    needed = {"cuda": 60, "cuda:0": 40}
    assert not fits(needed, lambda _: ("cuda:0", 100))
    assert fits(needed, lambda name: (name, 100))
    assert fits(needed, lambda _: ("cpu", None))


def test_needs_are_by_device_and_dtype() -> None:
    whole, half = (needs([{"model": "builtin:generator", "dtype": dtype}]) for dtype in ("float32", "float16"))
    assert whole["auto"] == pytest.approx(2 * half["auto"], rel=1e-3)
    apart = needs([{**BOTH[0], "device": "cuda:0"}, {**BOTH[1], "device": "cuda:1"}])
    assert set(apart) == {"cuda:0", "cuda:1"}


def test_what_cannot_move_stays() -> None:
    put_away(object())
    gentle, plain = Gentle("gentle"), Movable("plain")
    put_away(gentle)
    put_away(plain)
    assert MOVES == ["offload gentle", "unload plain"]


def test_a_model_that_does_not_fit_is_a_sentence() -> None:
    class Large(Movable):
        model = "a/large"

        def load(self) -> None:
            raise doubles.out_of_memory(of_torch=True)

    with pytest.raises(ModelError, match=r'not enough memory to load the model "a/large".*placement=swap'):
        Placement(kind="swap").bring(Large("large"))


def test_both_models_are_looked_for_before_either_works(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    options = ({"model": "builtin:generator"}, {"model": "nobody/here", "revision": commit})
    with pytest.raises(MissingModelError, match="nobody/here"):
        Placement(kind="resident", options=options).bring(Movable("generator"))
    assert MOVES == []
    with pytest.raises(MissingModelError, match="nobody/here"):
        check_there(options)


def test_a_wrong_word_and_a_device_that_is_not_there(ask: Any) -> None:
    with pytest.raises(ConfigError, match="placement must be one of auto, resident, swap; got 'both'"):
        ask("placement=both")
    assert ask("placement=swap").run_id == ask().run_id
    assert players(ask("placement=swap")).placement.kind == "swap"
    with pytest.raises(ModelError, match='there is no device "cuda:97"'):
        device_of("cuda:97")
    with pytest.raises(ModelError, match=r'device must be auto, cpu, cuda.*"gpu"'):
        device_of("gpu")


@pytest.mark.slow
def test_real_models_swap_to_the_same_pictures(play: Any, tmp_path: Any) -> None:
    words = ("dataset.limit=3", "rounds=2", "generator.batch_size=2", "captioner.batch_size=2", "stages=[play]")
    runs = [
        play(*words, f"placement={kind}", f"results_dir={tmp_path / kind}", base="phantom") for kind in ("swap", "resident")
    ]
    assert answers(runs[0]) == answers(runs[1])
