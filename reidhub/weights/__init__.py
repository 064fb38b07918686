"""Reads the weights of checkpoint files, old and new, without running code from the files.

Sizes, shapes and strides in a file are checked before they are used. Each class or function that a pickle names is
replaced by a harmless one from `reidhub.weights.unpickler`, or the file is rejected.
"""

from reidhub.weights.conversion import conversion_of, convert, said_original, stored_weights
from reidhub.weights.fit import CLASSIFIER, load_backbone, load_weights, num_classes_of
from reidhub.weights.state_dict import read_weights

__all__ = [
    "CLASSIFIER",
    "conversion_of",
    "convert",
    "load_backbone",
    "load_weights",
    "num_classes_of",
    "read_weights",
    "said_original",
    "stored_weights",
]
