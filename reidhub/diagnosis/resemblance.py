"""Find the architecture of weights by the names and shapes of the tensors.

The classifier is not compared, because its shape depends on the training dataset.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from reidhub.models import ARCHITECTURES, build
from reidhub.weights.fit import is_classifier, is_optional

ALIKE = 0.1
"""Smallest share of equal tensors for which an architecture or a prefix is named; below, its name would mislead."""

_TRIED = 8  # number of prefixes that are tried
_DEEPEST = 2  # largest number of modules in a prefix

Shapes = frozenset[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Resemblance:
    """How similar weights are to one architecture; the classifier is not compared.

    Args:
        architecture: key of the architecture registry.
        prefix: prefix that was removed from the names of the weights; only names with this prefix were compared.
        same: number of tensors with the same name and shape in the weights and in the architecture.
        total: number of tensors in the weights and in the architecture together; equal tensors count once.
        others: names of the tensors that only the weights or only the architecture has, or whose shapes differ.
    """

    architecture: str
    prefix: str
    same: int
    total: int
    others: frozenset[str]

    @property
    def whole(self) -> bool:
        """True if all compared tensors have the same names and shapes."""
        return self.same == self.total

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors whose names start with ``prefix``, under their names without it."""
        return {
            name.removeprefix(self.prefix): tensor for name, tensor in tensors.items() if name.startswith(self.prefix)
        }

    @property
    def share(self) -> float:
        """Share of equal tensors: ``same`` / ``total``, in [0, 1]."""
        return self.same / self.total


def find_nearest(tensors: Mapping[str, Tensor], architectures: Collection[str]) -> Resemblance:
    """Find the architecture whose tensors have the most similar names and shapes.

    Each of the ``architectures`` is compared with the unchanged names, and also with the names without a common prefix,
    such as ``module.``. The best comparison is returned. If several are equally good, unchanged names are preferred,
    and then the architecture that is listed first.
    """
    best = None
    for prefix in _list_prefixes(tensors):
        for found in _compare(tensors, prefix, architectures):
            if found.whole and not prefix:
                return found  # nothing can be more similar, and building the other architectures takes time
            share = found.share if not prefix or found.share >= ALIKE else 0
            if best is None or share > best[0]:
                best = share, found
    if best is None:
        raise ValueError("no architecture was given")
    return best[1]


def find_twins(architecture: str) -> tuple[str, ...]:
    """Find the other architectures that have exactly the same tensors, apart from the classifier.

    Only the architectures that the same module defines are compared: no two modules define the same tensors.
    """
    own, module = _read_architecture(architecture), _find_module(architecture)
    others = (name for name in ARCHITECTURES if name != architecture and _find_module(name) == module)
    return tuple(name for name in others if _read_architecture(name) == own)


def _find_module(architecture: str) -> str:
    return ARCHITECTURES[architecture].partition(":")[0]


def _compare(tensors: Mapping[str, Tensor], prefix: str, architectures: Collection[str]) -> Iterator[Resemblance]:
    own = _read_shapes({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    for architecture in architectures:
        known = _read_architecture(architecture)
        others = frozenset(name for name, _ in own ^ known)
        yield Resemblance(architecture, prefix, len(own & known), len(own | known), others)


def _list_prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """List the empty prefix, then the most common prefixes of the names, such as ``module.``."""
    counts: Counter[str] = Counter()
    for name in tensors:
        modules = name.split(".")[:-1]
        counts.update(".".join(modules[:depth]) + "." for depth in range(1, min(len(modules), _DEEPEST) + 1))
    return ["", *(prefix for prefix, _ in counts.most_common(_TRIED))]


@cache
def _read_architecture(name: str) -> Shapes:
    return _read_shapes(build(name, 1, device="meta").state_dict())


def _read_shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return frozenset(
        (name, tuple(tensor.shape))
        for name, tensor in tensors.items()
        if not is_classifier(name) and not is_optional(name)
    )
