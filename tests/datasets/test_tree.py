"""The tree of a folder or zip: names, nested zips, what is refused, and reading from threads and processes."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.datasets import tree as tree_module
from driftloop.datasets.tree import DataError, Tree, inside, some

Content = Mapping[str, "bytes | Content"]
"""File name -> bytes, or the content of a zip of that name."""

NESTED: Content = {
    "list.txt": b"labels",
    "images.zip": {"a.jpg": b"A" * 3000, "deep/b.jpg": b"B" * 10, "more.zip": {"c.jpg": b"C"}},
    "plain/d.jpg": b"D",
}
NAMES = ["images/a.jpg", "images/deep/b.jpg", "images/more/c.jpg", "list.txt", "plain/d.jpg"]
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}


def zipped(content: Content, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, value in content.items():
            archive.writestr(name, value if isinstance(value, bytes) else zipped(value, method))
    return buffer.getvalue()


def folder(content: Content, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    for name, value in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(value if isinstance(value, bytes) else zipped(value, method))
    return path


def zip_file(content: Content, path: Path, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.write_bytes(zipped(content, method))
    return path


@pytest.mark.parametrize("method", METHODS)
def test_folder_and_zip_with_nested_zips_look_alike(tmp_path: Path, method: str) -> None:
    trees = [
        Tree(folder(NESTED, tmp_path / "set", METHODS[method])),
        Tree(zip_file(NESTED, tmp_path / "set.zip", METHODS[method])),
    ]
    for tree in trees:
        assert tree.names() == NAMES
        assert [tree.read(name)[:1] for name in NAMES] == [b"A", b"B", b"C", b"l", b"D"]
        assert tree.size("images/a.jpg") == len(tree.read("images/a.jpg")) == 3000


def test_junk_is_left_out(tmp_path: Path) -> None:
    junk: Content = {
        "__MACOSX/._a.jpg": b"",
        ".DS_Store": b"",
        "x/._b.jpg": b"",
        "x/Thumbs.db": b"",
        "._c.zip": b"no zip",
    }
    content: Content = {"a.jpg": b"A", **junk, "in.zip": {"b.jpg": b"B", **junk}}
    assert Tree(folder(content, tmp_path / "set")).names() == ["a.jpg", "in/b.jpg"]
    assert Tree(zip_file(content, tmp_path / "set.zip")).names() == ["a.jpg", "in/b.jpg"]


def test_a_zip_beside_its_unpacked_copy_is_one(tmp_path: Path) -> None:
    content: Content = {"in/a.jpg": b"A", "in.zip": {"a.jpg": b"A", "b.jpg": b"B"}}
    assert Tree(folder(content, tmp_path / "set")).names() == ["in/a.jpg", "in/b.jpg"]
    with pytest.raises(DataError, match="twice"):
        Tree(folder({"in/a.jpg": b"longer"}, tmp_path / "set")).names()


def test_missing_root_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set at"):
        Tree(tmp_path / "nowhere")
    (tmp_path / "set.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"neither a folder nor a .zip"):
        Tree(tmp_path / "set.tar").names()


def test_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    tree = Tree(folder({"labels.csv": b""}, tmp_path))
    with pytest.raises(DataError, match=r'Did you mean "labels.csv"'):
        tree.read("label.csv")


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "a\\..\\..\\evil"])
def test_a_zip_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads outside"):
        Tree(zip_file({"ok": b"", name: b""}, tmp_path / "set.zip")).names()
    with pytest.raises(DataError, match="leads outside"):
        Tree(folder({"inner.zip": {name: b""}}, tmp_path / "set")).names()


def test_windows_separators_in_a_zip_are_folders(tmp_path: Path) -> None:
    assert Tree(zip_file({"a\\b.jpg": b"B"}, tmp_path / "set.zip")).names() == ["a/b.jpg"]


def test_links_out_of_the_root_are_refused_and_links_inside_followed(tmp_path: Path) -> None:
    folder({"set/a.jpg": b"A", "set/sub/b.jpg": b"B", "secret.txt": b"S"}, tmp_path)
    (tmp_path / "set" / "link").symlink_to(tmp_path / "set" / "sub")
    assert Tree(tmp_path / "set").names() == ["a.jpg", "link/b.jpg", "sub/b.jpg"]
    (tmp_path / "set" / "out.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match="link out of"):
        Tree(tmp_path / "set").names()


def test_a_link_to_a_folder_above_is_refused(tmp_path: Path) -> None:
    folder({"sub/a.jpg": b"A"}, tmp_path)
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    with pytest.raises(DataError, match="holds it"):
        Tree(tmp_path).names()


def test_a_broken_zip_is_named(tmp_path: Path) -> None:
    whole = zipped({"a.jpg": bytes(range(256)) * 50})
    for name, data in {"cut": whole[: len(whole) // 2], "none": b"not a zip", "empty": b""}.items():
        with pytest.raises(DataError, match=r"broken.zip is not a readable zip"):
            Tree(folder({"broken.zip": data}, tmp_path / name)).names()


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member_is_named(tmp_path: Path, method: str) -> None:
    data = bytearray(zipped({"a.jpg": bytes(range(256)) * 50}, METHODS[method]))
    data[60] ^= 255
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a.jpg: damaged"):
        Tree(tmp_path / "set.zip").read("a.jpg")


def test_a_member_that_unpacks_to_more_than_announced_is_stopped(tmp_path: Path) -> None:
    data = zipped({"a.jpg": bytes(10**6)})
    lying = data.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "set.zip").write_bytes(lying)
    with pytest.raises(DataError, match="damaged"):
        Tree(tmp_path / "set.zip").read("a.jpg")


def test_a_moved_header_is_damage(tmp_path: Path) -> None:
    data = zipped({"a.jpg": b"A"})
    (tmp_path / "set.zip").write_bytes(data.replace(b"PK\x03\x04", b"XXXX"))
    with pytest.raises(DataError, match="damaged"):
        Tree(tmp_path / "set.zip").read("a.jpg")


def test_an_encrypted_zip_asks_for_unpacking(tmp_path: Path) -> None:
    data = bytearray(zipped({"list.txt": b"labels", "in.zip": {"a": b""}}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + flags] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    tree = Tree(tmp_path / "set.zip")
    assert tree.names() == ["in.zip", "list.txt"]
    with pytest.raises(DataError, match="encrypted"):
        tree.read("list.txt")


def test_other_packing_methods_ask_for_unpacking(tmp_path: Path) -> None:
    tree = Tree(zip_file({"a.jpg": b"A"}, tmp_path / "set.zip", zipfile.ZIP_BZIP2))
    with pytest.raises(DataError, match="method 12"):
        tree.read("a.jpg")


def test_zips_too_deep_are_refused(tmp_path: Path) -> None:
    content: Content = {"a.jpg": b"A"}
    for _ in range(tree_module.DEEPEST_ZIP + 1):
        content = {"in.zip": content}
    with pytest.raises(DataError, match="deeper than"):
        Tree(folder(content, tmp_path)).names()


def test_a_file_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "LARGEST_FILE", 5)
    folder({"set/a.jpg": b"123456", "set/in.zip": {"b.jpg": b"123456"}}, tmp_path)
    for name in ("a.jpg", "in/b.jpg"):
        with pytest.raises(DataError, match="at most 5"):
            Tree(tmp_path / "set").read(name)


@pytest.mark.parametrize("method", METHODS)
def test_many_threads_read_the_same_bytes(tmp_path: Path, method: str) -> None:
    files = {f"{n:03d}.bin": bytes([n]) * (n * 50) for n in range(120)}
    tree = Tree(zip_file({"in.zip": files}, tmp_path / "set.zip", METHODS[method]))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(tree.read, [f"in/{name}" for name in files] * 3))
    assert read == list(files.values()) * 3


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_member_can_be_read_in_another_process(tmp_path: Path, start: str) -> None:
    tree = Tree(zip_file(NESTED, tmp_path / "set.zip"))
    members = [tree.member(name) for name in NAMES]
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool:
        read = [pool.submit(member.read).result() for member in members]
    assert read == [member.read() for member in members]


def test_a_pickled_tree_reads_and_its_members_are_small(tmp_path: Path) -> None:
    tree = Tree(zip_file(NESTED, tmp_path / "set.zip"))
    assert len(pickle.dumps(tree.member("images/more/c.jpg"))) < 2000
    copy = pickle.loads(pickle.dumps(tree))  # noqa: S301 (our own bytes)
    assert copy.read("images/more/c.jpg") == b"C"


def test_nothing_stays_open(tmp_path: Path) -> None:
    tree = Tree(zip_file(NESTED, tmp_path / "set.zip"))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count)
    for name in tree.names():
        tree.read(name)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("a.jpg", "", "a.jpg"),
        ("./a.jpg", "labels", "labels/a.jpg"),
        ("../a.jpg", "labels", "a.jpg"),
        ("x\\y", "", "x/y"),
    ],
)
def test_names_from_labels_are_relative_to_their_folder(name: str, where: str, expected: str) -> None:
    assert inside(name, where) == expected


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "C:/a", "C:\\a", "", "  ", ".", "a\0b", "..\\a"])
def test_names_from_labels_that_lead_outside_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="outside the data set"):
        inside(name)


@given(name=st.text("./\\ab:", max_size=12), where=st.sampled_from(["", "x", "x/y"]))
def test_no_name_ever_leaves_the_tree(name: str, where: str) -> None:
    try:
        joined = inside(name, where)
    except DataError:
        return
    assert not joined.startswith("/")
    assert ".." not in joined.split("/")


def test_some_counts_and_cuts() -> None:
    assert some(["b", "a"]) == "2: a, b"
    assert some(map(str, range(7)), 2) == "7: 0, 1, …"
