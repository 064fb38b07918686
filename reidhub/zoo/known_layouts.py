"""Layouts that the files of one program share, as the manifest describes them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import filter as select_matching
from fnmatch import fnmatchcase

from reidhub.zoo.artifact import StateDictLayout


@dataclass(frozen=True, slots=True)
class KnownLayout:
    """A layout with a name, which several files have.

    Args:
        name: name of the layout; ``layout`` in a checkpoint's entry can be this name.
        about: which files have this layout.
        layout: how the files store their tensors.
        signs: patterns with wildcards. A file has this layout if each pattern matches a name of its tensors, and no
            earlier layout of the manifest fits.
        architectures: names of the architectures that load such files.
        differs: pattern with wildcards for names of architectures -> why a file with the tensors of such an
            architecture is another network, although its tensors may fit.
    """

    name: str
    about: str
    layout: StateDictLayout
    signs: tuple[str, ...]
    architectures: tuple[str, ...]
    differs: dict[str, str]

    def list_differences(self, architecture: str) -> Iterator[str]:
        """Yield the reasons why a file with the tensors of this architecture is another network."""
        return (reason for pattern, reason in self.differs.items() if fnmatchcase(architecture, pattern))


def find_layout(names: Collection[str], layouts: Sequence[KnownLayout]) -> KnownLayout | None:
    """Find the layout of a file by the names of its tensors; None if no layout fits.

    Args:
        names: names of the tensors, as the file has them, without a prefix that all names have.
        layouts: the layouts, in the order in which they are tried.
    """
    fitting = (one for one in layouts if all(select_matching(names, sign) for sign in one.signs))
    return next(fitting, None)
