"""Other people's files that the manifest lists with a digest, such as files that are not what their names say."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from reidhub.files.strict_yaml import Value

_LENGTHS = {"sha256": 64, "git_blob": 40}  # hexadecimal digits
_SHORTEST = 8  # digits that tell files apart

Kind = Literal["sha256", "git_blob"]
Likelihood = Literal["surely", "probably", "perhaps"]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that is recognised by its digest. It is not listed as the file of a checkpoint.

    Args:
        kind: what ``digits`` belong to: the sha256 of the file, or the id that git gives to its content.
        digits: all hexadecimal digits, or the first 8 or more.
        what: what the file is; the end of a sentence that begins with "it is".
        checkpoint: name of the checkpoint whose published file a user wants instead; None if there is none.
        likelihood: how certain ``what`` is for a file with these digits.
        evidence: text that says how this is known.
    """

    kind: Kind
    digits: str
    what: str
    checkpoint: str | None
    likelihood: Likelihood
    evidence: str

    @property
    def complete(self) -> bool:
        """True if all digits are known."""
        return len(self.digits) == _LENGTHS[self.kind]


def read_known_file(value: "Value") -> KnownFile:
    """Read an entry of the list ``known_files`` in a manifest file.

    Raises:
        ManifestError: a field is unknown, missing or wrong, or not exactly one digest is given.
    """
    from reidhub.zoo.manifest_fields import KNOWN_FILE, KNOWN_FILE_DIGESTS  # imports yaml

    fields = value.fields(KNOWN_FILE)
    given = [name for name in KNOWN_FILE_DIGESTS if name in fields]
    if len(given) != 1:
        value.fail(f"a known file has exactly one of {', '.join(KNOWN_FILE_DIGESTS)}")
    (name,) = given
    kind: Kind = "git_blob" if name == "git_blob" else "sha256"
    digits = _read_digits(fields[name], _LENGTHS[kind] if name == "sha256" else _SHORTEST, _LENGTHS[kind])
    stated = fields["likelihood"].choice(("probably", "perhaps")) if "likelihood" in fields else None
    usual = "surely" if len(digits) == _LENGTHS[kind] else "probably"
    return KnownFile(
        kind=kind,
        digits=digits,
        what=fields["what"].text(),
        checkpoint=fields["checkpoint"].text() if "checkpoint" in fields else None,
        likelihood=cast(Likelihood, stated or usual),
        evidence=fields["evidence"].text(),
    )


def _read_digits(value: "Value", shortest: int, longest: int) -> str:
    digits = value.text()
    if not re.fullmatch(rf"[0-9a-f]{{{shortest},{longest}}}", digits):
        count = longest if shortest == longest else f"{shortest} to {longest}"
        value.fail(f"expected {count} lower-case hexadecimal digits, got {digits[:80]!r}")
    return digits
