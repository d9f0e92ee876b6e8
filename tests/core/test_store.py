"""What is written is what is read, each key once, whatever else is going on in the folder."""

from __future__ import annotations

import json
import math
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.core import packs
from driftloop.core.errors import StoreError
from driftloop.core.store import HERE, Store, Writer, write_bytes

SLOW_DISK = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEED = st.integers(0, 2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def row(chain: str, number: int, **values: Any) -> dict[str, Any]:
    seed_id, _, replicate = chain.rpartition("/")
    return {"seed_id": seed_id, "replicate": int(replicate), "chain": chain, "round": number, "image": "", "status": "ok",
            "error": "", "attempts": 1} | values  # fmt: skip


@st.composite
def rows(draw: Any) -> list[dict[str, Any]]:
    keys = draw(st.sets(st.tuples(st.sampled_from("abcde"), st.integers(0, 2), st.integers(0, 4)), max_size=25))
    return [
        row(f"{name}/{replicate}", number, caption=draw(st.none() | TEXT), generator_seed=draw(st.none() | SEED),
            captioner_seed=draw(st.none() | SEED), seconds_generate=draw(st.none() | st.floats(0, 1e6)),
            caption_truncated=draw(st.none() | st.booleans()), caption_tokens=draw(st.none() | st.integers(0, 2**31 - 1)))
        for name, replicate, number in sorted(keys)
    ]  # fmt: skip


@SLOW_DISK
@given(written=rows(), cuts=st.lists(st.integers(0, 25), max_size=4), merge=st.booleans())
def test_rows_written_are_rows_read(tmp_path_factory: Any, written: list[dict[str, Any]], cuts: list[int], merge: bool) -> None:
    store = Store(tmp_path_factory.mktemp("run"))
    with store.writer("rounds") as writer:
        for index, one in enumerate(written):
            writer.add([one])
            if index in cuts:
                writer.flush()
        if merge:
            writer.merge()
    read = store.rounds().astype(object)
    read = read.where(read.notna(), None).to_dict("records")
    found = {(one["chain"], one["round"]): one for one in read}
    assert len(found) == len(read) == len(written)
    for one in written:
        again = found[one["chain"], one["round"]]
        assert all(again[key] == value for key, value in one.items())
        assert again["run"] == store.run_id
    parts = len(store.listing("rounds"))
    assert parts == (1 if merge and written else parts)


def test_seeds_of_63_bits_survive_beside_missing_ones(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    largest = [2**63 - 1, 2**63 - 2, 2**53 + 1]  # floats would make one number of the first two
    with store.writer("rounds") as writer:
        writer.add(row(f"s/{n}", 1, generator_seed=value) for n, value in enumerate(largest))
        writer.add([row("s/9", 0)])
    read = store.rounds().sort_values("replicate")["generator_seed"]
    assert [int(value) for value in read.dropna()] == largest
    assert read.isna().sum() == 1


def test_the_history_of_a_chain_gives_none_for_what_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    with store.writer("rounds") as writer:
        writer.add([row("s/0", 0, caption="a prompt"), row("s/0", 1, caption=None, status="failed", image_sha256=None)])
    [first, second] = store.history(["s/0"])
    assert first["image_sha256"] is None
    assert second["caption"] is None
    assert [first["round"], second["round"]] == [0, 1]


def test_merging_keeps_every_row_exactly_once_and_one_part(tmp_path: Path) -> None:
    store = Store(tmp_path / "run", flush_seconds=0)
    with store.writer("rounds") as writer:
        for number in range(20):
            writer.add([row(f"s{number}/0", 0)])
        assert len(store.listing("rounds")) > 5
        writer.merge()
        assert len(store.listing("rounds")) == 1
    assert sorted(store.rounds()["chain"]) == sorted(f"s{number}/0" for number in range(20))


def test_a_reader_sees_every_finished_row_while_another_merges(tmp_path: Path) -> None:
    store = Store(tmp_path / "run", flush_seconds=0)
    finished, stop, counts = [0], threading.Event(), []

    def write() -> None:
        for wave in range(12):
            with store.writer("rounds") as writer:
                for number in range(10):
                    writer.add([row(f"w{wave}-{number}/0", 0)])
                writer.merge()
            finished[0] = (wave + 1) * 10
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    reader = Store(tmp_path / "run")
    while not stop.is_set():
        at_least = finished[0]
        seen = reader.rounds(["chain", "round"])
        counts.append(len(seen))
        assert len(seen) >= at_least
        assert seen["chain"].is_unique
    thread.join()
    assert len(reader.rounds(["chain", "round"])) == 120


def test_a_row_written_again_counts_the_last_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    for caption in ("first", "second"):
        with store.writer("rounds") as writer:
            writer.add([row("s/0", 0, caption=caption)])
    assert store.rounds()["caption"].tolist() == ["second"]
    assert [one["caption"] for one in store.history(["s/0"])] == ["second"]


def test_last_rounds_with_again_end_before_the_first_failure(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    with store.writer("rounds") as writer:
        writer.add(row("good/0", number) for number in range(4))
        writer.add([row("bad/0", 0), row("bad/0", 1, status="failed"), row("bad/0", 2, status="parent_failed")])
        writer.add([row("worst/0", 0, status="failed")])
    assert store.last_rounds() == {"good/0": 3, "bad/0": 2, "worst/0": 0}
    assert store.last_rounds(again=True) == {"good/0": 3, "bad/0": 0}
    assert [one["round"] for one in store.history(["bad/0"], again=True)] == [0]


def test_rows_are_cut_before_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftloop.core.store.ROWS_PER_PART", 10)
    store = Store(tmp_path / "run", flush_seconds=3600)
    with store.writer("rounds") as writer:
        for number in range(35):
            writer.add([row(f"s{number}/0", 0)])
        writer.settle()
        assert len(store.listing("rounds")) == 4


def test_an_empty_folder_reads_as_empty_tables(tmp_path: Path) -> None:
    store = Store(tmp_path / "nothing")
    assert len(store.rounds()) == len(store.seeds()) == len(store.readings("labels/x")) == 0
    assert store.last_rounds() == {}
    assert store.history(["a/0"]) == []
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(StoreError, match="is no run folder"):
        store.manifest()


def test_a_store_can_be_sent_to_another_process(small_run: Any) -> None:
    copy = pickle.loads(pickle.dumps(small_run.store))  # noqa: S301
    assert copy.rounds().equals(small_run.rounds)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_a_failed_write_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fails(_: int) -> None:
        raise error

    write_bytes(tmp_path / "table", b"before")
    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(StoreError, match=f"could not write .*table: {error.strerror}"):
        write_bytes(tmp_path / "table", b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
    assert (tmp_path / "table").read_bytes() == b"before"


def test_an_error_of_writing_surfaces_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "run", flush_seconds=0)

    def broken(*_: Any) -> Path:
        raise StoreError("no room")

    monkeypatch.setattr(Writer, "_write", broken)

    def write() -> None:
        with store.writer("rounds") as writer:
            for number in range(3):
                writer.add([row(f"s{number}/0", 0)])

    with pytest.raises(StoreError, match="no room"):
        write()


def test_what_raises_inside_a_writer_leaves_finished_rows_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "run", flush_seconds=3600)

    def write() -> None:
        with store.writer("rounds") as writer:
            writer.add([row("s/0", 0)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert len(store.rounds()) == 1


def test_temporary_files_of_killed_processes_are_cleared_by_the_next_claim(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.claim({"a": 1}, {}, "")
    dead, mine = f"{HERE}.{2**22 + 1}", f"{HERE}.{os.getpid()}"  # no process has a number above 2**22
    (store.folder / "rounds").mkdir()
    (store.folder / f"rounds/.part-1.parquet.{dead}.tmp").write_bytes(b"half")
    (store.folder / f"rounds/.part-2.parquet.{mine}.tmp").write_bytes(b"at work")
    (store.folder / f"rounds/.part-3.parquet.elsewhere.{2**22 + 1}.tmp").write_bytes(b"another machine's")
    store.claim({"a": 1}, {}, "")
    left = sorted(path.name for path in (store.folder / "rounds").iterdir())
    assert left == [f".part-2.parquet.{mine}.tmp", f".part-3.parquet.elsewhere.{2**22 + 1}.tmp"]


def test_locks_refuse_a_second_holder_and_let_go(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "run"), Store(tmp_path / "run")
    with one.lock("play"):
        with (
            pytest.raises(StoreError, match="another driftloop is at work in"),
            other.lock("play"),
        ):
            pass
        with other.lock("measure"):
            pass
    third = Store(tmp_path / "run")
    with other.lock("play", shared=True), one.lock("play", shared=True), pytest.raises(StoreError), third.lock("play"):
        pass


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    """Shards that start together take their seeds in one after the other."""
    inside, order = threading.Event(), []

    def first() -> None:
        with Store(tmp_path / "run").lock("seeds", wait=True):
            inside.set()
            threading.Event().wait(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with Store(tmp_path / "run").lock("seeds", wait=True):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    "key", ["../x", "round-000/../../x.zip/" + "a" * 64 + ".png", "/etc/passwd", "", "round-000/a.zip/../b.png",
            "round-000/a.zip/" + "a" * 63 + ".png", "a/b/c.zip/" + "a" * 64 + ".png", "round-000/a.zip/" + "a" * 64 + ".png\n"],
)  # fmt: skip
def test_a_key_cannot_leave_the_images(small_run: Any, key: str) -> None:
    with pytest.raises(StoreError, match="is no image key"):
        small_run.image(key)


def test_a_picture_that_is_not_there_is_named(small_run: Any) -> None:
    pack = small_run.rounds.loc[small_run.rounds["round"] == 1, "image"].iloc[0].rsplit("/", 1)[0]
    with pytest.raises(StoreError, match="There is no item named"):
        small_run.image(f"{pack}/{'0' * 64}.png")
    with pytest.raises(StoreError, match="No such file"):
        small_run.image(f"round-001/nowhere.zip/{'0' * 64}.png")


def test_more_packs_than_are_kept_open(tmp_path: Path) -> None:
    import doubles

    store = Store(tmp_path / "run")
    keys = [store.keep([doubles.painted(n * 977)], "round-000")[0] for n in range(2 * packs.OPEN_PACKS + 3)]
    for key, sha256 in [*keys, *reversed(keys)]:
        assert packs.pixel_hash(store.image(key)) == sha256
    assert len(store.reader._open) <= packs.OPEN_PACKS
    store.reader.close()


def test_equal_pictures_are_kept_once(tmp_path: Path) -> None:
    import doubles

    store = Store(tmp_path / "run")
    kept = store.keep([doubles.painted(5), doubles.painted(6), doubles.painted(5)], "round-000")
    assert kept[0] == kept[2] != kept[1]
    assert store.image(kept[0][0]).tobytes() == doubles.painted(5).tobytes()


def test_remembered_pictures_give_way_and_are_read_from_disk_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import doubles

    monkeypatch.setattr(packs, "REMEMBERED_BYTES", 3000)
    store = Store(tmp_path / "run")
    pictures = [doubles.painted(n * 31) for n in range(8)]  # 768 bytes each
    with store.writer("rounds") as writer:
        keys = [writer.picture(picture, packs.pixel_hash(picture), "round-001") for picture in pictures]
        writer.add(row(f"s{n}/0", 1, image=key) for n, key in enumerate(keys))
        assert store.reader._fresh_bytes <= 3000
        writer.settle()
    assert [store.image(key).tobytes() for key in keys] == [picture.tobytes() for picture in pictures]
    assert store.reader._fresh_bytes == 0


def test_readings_keep_lists_and_missing_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    body = {"classifier": "c", "attribute": "gender", "status": "ok", "label": "female", "probability": 0.1 + 0.2,
            "probabilities": [0.1 + 0.2, 1 / 3], "n_faces": None, "years": None}  # fmt: skip
    with store.writer("labels/c-1") as writer:
        writer.add([{**{key: row("s/0", 0)[key] for key in ("seed_id", "replicate", "chain", "round")}, **body}])
    [read] = store.readings("labels/c-1").to_dict("records")
    assert read["probability"] == 0.1 + 0.2
    assert list(read["probabilities"]) == [0.1 + 0.2, 1 / 3]
    assert math.isnan(read["years"])


def test_the_manifest_says_what_it_is(small_run: Any) -> None:
    manifest = json.loads((small_run.store.folder / "manifest.json").read_text())
    assert manifest["run_id"] == small_run.store.folder.name
    assert set(manifest["identity"]) >= {"dataset", "generator", "captioner", "mitigation", "root_seed", "arm"}
    assert manifest["names"] == {"dataset": "toy", "generator": "toy", "captioner": "toy", "mitigation": "none"}
