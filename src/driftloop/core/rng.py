"""Derives every random seed of a run from a root seed and names, so that no draw depends on batch, order, worker or shard."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(root_seed: int, *names: str | int) -> int:
    """A seed of 63 bits that belongs to these names alone: the first 8 bytes of BLAKE2b over their unambiguous joining.

    Names are length-prefixed and typed, so ("ab", "c") and ("a", "bc"), 1 and "1" differ.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in (root_seed, *names):
        text = f"{type(name).__name__}:{name}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(seed: int) -> np.random.Generator:
    """The numpy generator of a derived seed."""
    return np.random.Generator(np.random.PCG64(seed))
