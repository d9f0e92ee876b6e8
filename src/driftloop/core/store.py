"""The run folder: the only code that knows paths and formats.

Everything is written to a temporary name and then renamed, so what has its final name is whole. Rows are found again by
key (chain, round), never by file, position or folder; a row that was written twice by a killed run is the same row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from driftloop.core import packs, schemas
from driftloop.core.errors import IdentityError, StoreError

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
SCHEMA_VERSION = 1
ROWS_PER_PART = 4096
ENCODERS = 4
HERE = os.uname().nodename  # a process number says nothing of another machine that plays a shard of the same run


class Store:
    """One run folder. Cheap to open; picklable, so that worker processes open their own."""

    def __init__(self, folder: Path, *, flush_seconds: float = 5.0) -> None:
        self.folder = Path(folder)
        self.flush_seconds = flush_seconds
        self.reader = packs.PackReader(self.folder / "images")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Store, flush_seconds=self.flush_seconds), (self.folder,)

    @property
    def run_id(self) -> str:
        return self.folder.name

    # -- what the run is ------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """The manifest; StoreError when the folder is no run."""
        try:
            return dict(json.loads((self.folder / "manifest.json").read_text()))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder} is no run folder: {error}") from error

    def claim(self, identity: Mapping[str, Any], names: Mapping[str, str], config: str) -> None:
        """Makes the folder this run's, or checks that it already is; a folder of another identity is refused by field."""
        path = self.folder / "manifest.json"
        if path.exists():
            _check_identity(self.folder, self.manifest(), identity)
        else:
            body = {"schema_version": SCHEMA_VERSION, "run_id": self.run_id, "names": names, "identity": identity}
            write_bytes(path, json.dumps(body, indent=2, sort_keys=True).encode())
        write_bytes(self.folder / "config.yaml", config.encode())
        self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        """Removes the temporary files of processes that were killed while they wrote."""
        for path in self.folder.rglob(f".*.{HERE}.*.tmp"):
            if not _alive(int(path.name.split(".")[-2])):
                path.unlink(missing_ok=True)

    def write_json(self, name: str, body: Mapping[str, Any]) -> None:
        write_bytes(self.folder / name, json.dumps(body, indent=2, default=str).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A small json of the run; empty when it was not written yet."""
        path = self.folder / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def provenance(self) -> list[dict[str, Any]]:
        """What every invocation recorded, oldest first."""
        return [json.loads(path.read_text()) for path in sorted((self.folder / "provenance").glob("*.json"))]

    @contextmanager
    def lock(self, name: str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
        """Refuses a second process on the same part of the run, or lets it `wait`; the system frees it when a process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{name}.lock").open("w") as handle:
            try:
                flock(handle, (LOCK_SH if shared else LOCK_EX) | (0 if wait else LOCK_NB))
            except BlockingIOError as error:
                raise StoreError(
                    f"another driftloop is at work in {self.folder} ({name}); wait for it, or play shards"
                ) from error
            yield

    # -- tables ---------------------------------------------------------------------------------------------------

    def seeds(self) -> pd.DataFrame:
        """seeds.parquet, in its order; no rows before the first seed was taken in."""
        path = self.folder / "seeds.parquet"
        return pd.read_parquet(path) if path.exists() else pd.DataFrame({"seed_id": pd.Series(dtype="str")})

    def write_seeds(self, seeds: pd.DataFrame) -> None:
        self.write_table("seeds.parquet", seeds)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """One whole table, atomically."""
        write_parquet(self.folder / name, pa.Table.from_pandas(table, preserve_index=False))

    def read_table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)

    def rows(
        self, table: str, columns: Sequence[str] | None = None, chains: Iterable[str] | None = None, kind: str = "part"
    ) -> pa.Table:
        """Rows of rounds/, labels/<folder>/ …, of some columns and chains; `kind` is part, or _pending for pictures not
        yet described."""
        where = None if chains is None else pc.field("chain").isin(pa.array(chains, pa.string()))
        schema = schemas.schema_of(table)

        def read() -> pa.Table:
            files = [str(path) for path in sorted((self.folder / table).glob(f"{kind}-*.parquet"))]
            return ds.dataset(files, schema=schema, format="parquet").to_table(columns=columns, filter=where)

        return _between_merges(read, self.folder / table)

    def rounds(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rounds table, one row a (chain, round)."""
        rows = self.rows("rounds", columns).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)  # seeds of 63 bits
        return _once(rows, ["chain", "round"])

    def last_rounds(self, *, again: bool = False) -> dict[str, int]:
        """The last finished round of every chain; with `again`, rounds from a chain's first failure on do not count."""
        if not again:
            table = self.rows("rounds", ["chain", "round"]).group_by("chain").aggregate([("round", "max")])
            return dict(zip(table["chain"].to_pylist(), table["round_max"].to_pylist(), strict=True))
        rows = _until_failure(self.rounds(["chain", "round", "status"]))
        return {str(chain): int(last) for chain, last in rows.groupby("chain")["round"].max().items()}

    def history(self, chains: Iterable[str], *, again: bool = False) -> list[dict[str, Any]]:
        """The rows of some chains by round, as far as the next round needs them; `again` as in `last_rounds`."""
        columns = ["chain", "round", "status", "caption", "image", "image_sha256"]
        rows = {(row["chain"], row["round"]): row for row in self.rows("rounds", columns, chains).to_pylist()}
        failed, kept = set[str](), []
        for row in sorted(rows.values(), key=lambda row: row["round"]):
            if again and row["status"] != "ok":
                failed.add(row["chain"])
            if row["chain"] not in failed:
                kept.append(row)
        return kept

    def readings(self, folder: str) -> pd.DataFrame:
        """The readings in labels/<…> or concepts/<…>, one row a (chain, round, attribute)."""
        return _once(self.rows(folder).to_pandas(), ["chain", "round", "attribute"])

    def probes(self, folder: str) -> pd.DataFrame:
        """The probes in probes/<hash8>, one row a version."""
        rows = self.rows(folder).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        return _once(rows, ["chain"])

    def probe_tables(self) -> list[str]:
        """Every table below probes/ that has parts: the probes themselves and the readings of their pictures."""
        parts = (self.folder / "probes").rglob("part-*.parquet")
        return sorted({path.parent.relative_to(self.folder).as_posix() for path in parts})

    def listing(self, table: str) -> dict[str, int]:
        """The finished parts of a table and their sizes: what a later stage depends on."""

        def look() -> dict[str, int]:
            return {path.name: path.stat().st_size for path in sorted((self.folder / table).glob("part-*.parquet"))}

        return _between_merges(look, self.folder / table)

    def writer(self, table: str, kind: str = "part") -> Writer:
        return Writer(self, table, kind)

    def pending(self, chains: Iterable[str], round_: int) -> list[dict[str, Any]]:
        """Rows of pictures of a round that were made well but not described when a run was stopped."""
        if not any((self.folder / "rounds").glob("_pending-*.parquet")):
            return []
        table = self.rows("rounds", chains=chains, kind="_pending")
        return list(table.filter((pc.field("round") == round_) & (pc.field("status") == "ok")).to_pylist())

    def drop_described(self) -> None:
        """Removes journals of pictures all of which have been described meanwhile."""
        journals = list((self.folder / "rounds").glob("_pending-*.parquet"))
        if journals:
            done = self.rows("rounds", ["chain", "round"]).to_pydict()
            described = set(zip(done["chain"], done["round"], strict=True))
            for path in journals:
                with suppress(FileNotFoundError):  # its writer, another shard at work, has dropped it meanwhile
                    waiting = pq.read_table(path, columns=["chain", "round"]).to_pydict()
                    if described.issuperset(zip(waiting["chain"], waiting["round"], strict=True)):
                        path.unlink()

    # -- pictures -------------------------------------------------------------------------------------------------

    def keep(self, images: Sequence[Image], folder: str) -> list[tuple[str, str]]:
        """Writes pictures as one pack; their (key, pixel hash) in order."""
        if not images:
            return []
        name, hashes = _unique_name(), [packs.pixel_hash(image) for image in images]
        with ThreadPoolExecutor(ENCODERS) as pool:
            encoded = list(pool.map(packs.encode, images))
        write_bytes(self.folder / "images" / folder / f"{name}.zip", packs.pack(list(zip(hashes, encoded, strict=True))))
        return [(f"{folder}/{name}.zip/{sha256}.png", sha256) for sha256 in hashes]

    def image(self, key: str) -> Image:
        return self.reader.read(key)

    def images(self, keys: Sequence[str]) -> list[Image]:
        """Pictures in the order of `keys`, decoded on several threads."""
        with ThreadPoolExecutor(ENCODERS) as pool:
            return list(pool.map(self.image, keys))


class Writer:
    """Collects rows and pictures and writes them in whole parts: pictures first, then the rows that point at them.

    Encoding and writing happen on threads while the models work on. An error of writing surfaces at the next call.
    A part is cut when `flush_seconds` have passed or ROWS_PER_PART rows wait, so a killed run loses seconds.
    """

    def __init__(self, store: Store, table: str, kind: str) -> None:
        self._store, self._table, self._kind = store, table, kind
        self._schema = schemas.schema_of(table)
        self._rows: list[dict[str, Any]] = []
        self._images: list[tuple[str, Future[bytes]]] = []
        self._pool, self._disk = ThreadPoolExecutor(ENCODERS), ThreadPoolExecutor(1)
        self._writing: Future[Path] | None = None
        self._name, self._since = _unique_name(), time.monotonic()
        self.parts: list[Path] = []

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or not issubclass(kind, StoreError):
                self.settle()
        finally:
            self._pool.shutdown()
            self._disk.shutdown()

    def picture(self, image: Image, sha256: str, folder: str) -> str:
        """Keeps a picture for the next part; returns the key under which it will be found. One folder a part."""
        self._images.append((sha256, self._pool.submit(packs.encode, image)))
        key = f"{folder}/{self._name}.zip/{sha256}.png"
        self._store.reader.remember(key, image)
        return key

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows += [{"run": self._store.run_id, **row} for row in rows]
        if len(self._rows) >= ROWS_PER_PART or time.monotonic() - self._since >= self._store.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Hands what was collected to the disk thread; at most one part is on its way."""
        self._wait()
        if self._rows:
            job = partial(self._write, self._name, self._rows, self._images)
            self._writing = self._disk.submit(job)
        self._rows, self._images = [], []
        self._name, self._since = _unique_name(), time.monotonic()

    def settle(self) -> None:
        """Returns when everything added so far is on disk."""
        self.flush()
        self._wait()

    def merge(self) -> None:
        """Makes one part of all that this writer wrote, so that a long run stays quick to read."""
        self.settle()
        if len(self.parts) > 1:
            table = pa.concat_tables([pq.read_table(path, schema=self._schema) for path in self.parts])
            whole = self._path(_unique_name())
            write_parquet(whole, table)
            self.discard()
            self.parts = [whole]

    def discard(self) -> None:
        """Deletes the parts that this writer wrote."""
        self._wait()
        for path in self.parts:
            path.unlink(missing_ok=True)
        self.parts = []

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.parts.append(writing.result())

    def _write(self, name: str, rows: list[dict[str, Any]], images: list[tuple[str, Future[bytes]]]) -> Path:
        if images:
            folder = next(row["image"] for row in rows if row["image"]).split("/")[0]
            encoded = [(sha256, future.result()) for sha256, future in images]
            write_bytes(self._store.folder / "images" / folder / f"{name}.zip", packs.pack(encoded))
        path = self._path(name)
        write_parquet(path, pa.Table.from_pylist(rows, self._schema))
        return path

    def _path(self, name: str) -> Path:
        return self._store.folder / self._table / f"{self._kind}-{name}.parquet"


def write_bytes(path: Path, data: bytes) -> None:
    """Writes to a temporary name, makes it durable, renames. StoreError says what could not be written and why."""
    temporary = path.with_name(f".{path.name}.{HERE}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # what stopped the writing may stop this too
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"could not write {path}: {error.strerror or error}. Everything written before is whole; "
            "make room and run the same command again."
        ) from error


def write_parquet(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def _between_merges(look: Callable[[], T], folder: Path) -> T:
    """What `look` finds; again, for at most ten seconds, while a process at work merges parts under its eyes."""
    for _ in range(200):
        with suppress(FileNotFoundError):
            return look()
        time.sleep(0.05)
    raise StoreError(f"{folder} changes faster than it can be read")


def _once(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    if not set(key) <= set(rows.columns):
        return rows
    # The last one counts: parts are named by time, and only `on_failure.again` writes a key anew on purpose.
    return rows.drop_duplicates(key, keep="last", ignore_index=True)


def _until_failure(rows: pd.DataFrame) -> pd.DataFrame:
    failed = rows[rows["status"] != "ok"].groupby("chain")["round"].min()
    return rows[rows["round"] < rows["chain"].map(failed).fillna(np.inf)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives, under another user
    return True


def _unique_name() -> str:
    return f"{time.time_ns():x}-{os.getpid():x}-{os.urandom(2).hex()}"


def _check_identity(folder: Path, manifest: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise IdentityError(f"{folder} has schema version {manifest.get('schema_version')}, this is {SCHEMA_VERSION}")
    before, now = dict(_flat(manifest["identity"])), dict(_flat(identity))
    fields = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if fields:
        told = "; ".join(f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in fields[:5])
        raise IdentityError(f"{folder} belongs to another experiment: {told}. Choose another results_dir or arm.")


def _flat(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.loads(json.dumps(node))
