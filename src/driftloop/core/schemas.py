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

PROBES = pa.schema(
    [
        *CHAIN_ROUND,
        ("model", pa.string()),  # generator, or captioner
        ("probed", pa.string()),  # the attribute in which versions differ
        ("version", pa.string()),
        ("says", pa.string()),  # what the caption of round 0 says of that attribute; "" for a captioner
        ("caption", pa.string()),  # what the generator was given, or what the captioner said
        ("image", pa.string()),
        ("image_sha256", pa.string()),
        ("generator_seed", pa.int64()),
        ("captioner_seed", pa.int64()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_truncated", pa.bool_()),
        ("seconds", pa.float64()),
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

EMBEDDINGS = pa.schema(
    [
        *CHAIN_ROUND,
        ("encoder", pa.dictionary(pa.int32(), pa.string())),
        ("status", pa.dictionary(pa.int32(), pa.string())),  # ok | failed
        ("image", pa.list_(pa.float16())),  # a unit vector; null where there is no picture, or no side for it
        ("text", pa.list_(pa.float16())),
        ("text_cut", pa.bool_()),  # not all of the caption was seen
    ]
)


def schema_of(table: str) -> pa.Schema:
    """Of rounds, probes/<hash8>, a folder of embeddings/, or a folder of readings wherever it lies."""
    place, _, below = table.partition("/")
    if place in ("rounds", "embeddings"):
        return ROUNDS if place == "rounds" else EMBEDDINGS
    return PROBES if place == "probes" and "/" not in below else READINGS
