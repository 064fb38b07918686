"""Weights of checkpoint files of every age, read without running code from them.

Nothing in a file is believed before it was checked: not its sizes, shapes or strides, and no name in its pickle leads
to anything but the stand-ins of `reidhub.weights.unpickler`.
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
