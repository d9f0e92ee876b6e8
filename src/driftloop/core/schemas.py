"""Columns and types of every table that a run writes row by row (the contract with notebooks and other tools)."""

from __future__ import annotations

import pyarrow as pa

CHAIN_ROUND = [
    ("run", pa.dictionary(pa.int32(), pa.string())),
    ("seed_id", pa.string()),
    ("replicate", pa.int32()),
    ("chain", pa.string()),
    ("round", pa.int32()),
]

ROUNDS = pa.schema(
    [
        *CHAIN_ROUND,
        ("image", pa.string()),  # key in images/, "" where there is none
        ("image_sha256", pa.string()),
        ("caption", pa.string()),
        ("generator_seed", pa.int64()),
        ("captioner_seed", pa.int64()),
        ("parent_sha256", pa.string()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int32()),
        ("caption_tokens", pa.int32()),
        ("caption_truncated", pa.bool_()),
        ("caption_echo", pa.bool_()),
        ("prompt_truncated", pa.bool_()),
        ("seconds_generate", pa.float64()),
        ("seconds_describe", pa.float64()),
        ("batch_size", pa.int32()),
        ("device", pa.string()),
    ]
)

READINGS = pa.schema(
    [
        *CHAIN_ROUND,
        ("classifier", pa.dictionary(pa.int32(), pa.string())),
        ("attribute", pa.dictionary(pa.int32(), pa.string())),
        ("status", pa.dictionary(pa.int32(), pa.string())),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("probability", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("years", pa.float64()),
        ("n_faces", pa.int32()),
        ("n_persons", pa.int32()),
    ]
)
