"""Which architecture weights are of, by names and shapes; the classifier's width, which goes with a dataset, apart."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from reidhub.models import ARCHITECTURES, build
from reidhub.weights.fit import is_classifier, is_late

_TRIED = 8  # starts of names
_DEEPEST = 2  # names of modules that may stand before every name of a network inside another one

Shapes = frozenset[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Resemblance:
    """How near weights come to one architecture, leaving its classifier aside.

    Args:
        architecture: key of the registry.
        prefix: what stands before the names that count.
        same: tensors that agree in name and shape.
        total: tensors of either side.
        others: names that one side alone has, or has in another shape.
    """

    architecture: str
    prefix: str
    same: int
    total: int
    others: frozenset[str]

    @property
    def whole(self) -> bool:
        """True where every tensor agrees."""
        return self.same == self.total

    @property
    def share(self) -> float:
        """Part of the tensors that agree, in [0, 1]."""
        return self.same / self.total


def nearest(tensors: Mapping[str, Tensor]) -> Resemblance:
    """The architecture that weights resemble most, under whatever prefix; the bare names win a tie."""
    found = [resemblance for prefix in _prefixes(tensors) for resemblance in _compare(tensors, prefix)]
    return max(found, key=lambda resemblance: resemblance.share)


def _compare(tensors: Mapping[str, Tensor], prefix: str) -> Iterator[Resemblance]:
    own = _shapes({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    for architecture, known in _architectures().items():
        others = frozenset(name for name, _ in own ^ known)
        yield Resemblance(architecture, prefix, len(own & known), len(own | known), others)


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """Nothing, and the commonest starts of names."""
    counts: Counter[str] = Counter()
    for name in tensors:
        modules = name.split(".")[:-1]
        counts.update(".".join(modules[:depth]) + "." for depth in range(1, min(len(modules), _DEEPEST) + 1))
    return ["", *(prefix for prefix, _ in counts.most_common(_TRIED))]


@cache
def _architectures() -> dict[str, Shapes]:
    return {name: _shapes(build(name, 1, device="meta").state_dict()) for name in ARCHITECTURES}


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return frozenset(
        (name, tuple(tensor.shape)) for name, tensor in tensors.items() if not is_classifier(name) and not is_late(name)
    )
