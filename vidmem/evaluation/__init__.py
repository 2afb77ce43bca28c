"""Measures of what was tracked: J and F as DAVIS defines them."""

from vidmem.evaluation.davis import (
    ObjectScore,
    Sequence,
    SequenceScore,
    boundary_f,
    find_sequences,
    first_prompts,
    jaccard,
    load_labels,
    object_ids,
    score_sequence,
)

__all__ = [
    "ObjectScore",
    "Sequence",
    "SequenceScore",
    "boundary_f",
    "find_sequences",
    "first_prompts",
    "jaccard",
    "load_labels",
    "object_ids",
    "score_sequence",
]
