"""Reads the weights of checkpoint files, old and new, without running code from the files.

Sizes, shapes and strides in a file are checked before they are used. Each class or function that a pickle names is
replaced by a harmless one from `reidhub.weights.unpickler`, or the file is rejected.
"""

from reidhub.weights.conversion import convert, find_conversion, read_cached_weights, read_original_digest
from reidhub.weights.fit import CLASSIFIER, count_classes, load_backbone, load_weights
from reidhub.weights.state_dict import read_weights

__all__ = [
    "CLASSIFIER",
    "convert",
    "count_classes",
    "find_conversion",
    "load_backbone",
    "load_weights",
    "read_cached_weights",
    "read_original_digest",
    "read_weights",
]
