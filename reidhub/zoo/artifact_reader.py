"""Reads what an entry of a manifest file says about the checkpoint's file: digest, size, evidence and sources."""

import re
from typing import cast
from urllib.parse import urlsplit

from reidhub.files.digest import Digest
from reidhub.files.strict_yaml import Value, read_optional
from reidhub.zoo.artifact import GRADES, Artifact, Grade, Source
from reidhub.zoo.manifest_fields import LINKS


def read_artifact(file: dict[str, Value], sources: tuple[Source, ...]) -> Artifact:
    """Read what a manifest entry says about its file.

    Args:
        file: the fields of ``file``.
        sources: places to download the file from.

    Raises:
        ManifestError: a field is wrong, or does not fit the others.
    """
    for field in ("sha256", "size", "expected_size"):
        if field in file and "evidence" not in file:
            file[field].fail(f"{field} without evidence: add the field evidence, which says where it comes from")
    if "grade" in file and not {"sha256", "size"} & file.keys():
        file["grade"].fail("grade without sha256 or size: a grade says how good the evidence for them is")
    if {"size", "expected_size"} <= file.keys():
        file["expected_size"].fail("expected_size beside size: leave it out, because the size is known")
    return Artifact(
        digest=read_optional(file, "sha256", _read_digest),
        size=read_optional(file, "size", Value.integer),
        sources=sources,
        evidence=read_optional(file, "evidence", Value.text),
        sha256_prefix=read_optional(file, "sha256_prefix", Value.text),
        original_file=read_optional(file, "original", _read_file_name),
        grade=read_optional(file, "grade", _read_grade),
        expected_size=read_optional(file, "expected_size", _read_sizes) or (),
    )


def _read_grade(value: Value) -> Grade:
    return cast(Grade, value.choice(tuple(GRADES)))


def _read_sizes(value: Value) -> tuple[int, ...]:
    """Read one number of bytes, or a list of them."""
    sizes = value.items(Value.integer, "expected_size") if value.is_list() else (value.integer(),)
    if not sizes:
        value.fail("expected_size is empty")
    return sizes


def _read_digest(value: Value) -> Digest:
    try:
        return Digest(value.text())
    except ValueError as error:
        value.fail(str(error))


def _read_file_name(value: Value) -> str:
    name = value.text()
    if not re.fullmatch(r"[\w-][\w.+-]*", name):
        value.fail(f"{name!r} is not a plain file name")
    return name


def read_sources(fields: dict[str, Value]) -> tuple[Source, ...]:
    """Read the field ``sources``, or ``source``, of a manifest entry with these fields.

    Raises:
        ManifestError: there is no source, a source is given twice, or a link is malformed.
    """
    if "source" in fields:
        return (_read_source(fields["source"]),)
    found = fields["sources"].items(_read_source, "sources")
    if not found or len(set(found)) != len(found):
        message = "a checkpoint has at least one source" if not found else "the same source is given twice"
        fields["sources"].fail(message)
    return found


def _read_source(value: Value) -> Source:
    kind, location = value.only_pair("a source")
    name, link = kind.choice(tuple(LINKS)), location.text()
    if name == "local" and "://" not in link:
        link = (value.file.parent / link).absolute().as_uri()
    if not (re.fullmatch(LINKS[name], link) and _is_url(link)):
        location.fail(f"{link!r} is not a link of kind {name}")
    return Source(name, link)


def _is_url(link: str) -> bool:
    try:
        return bool(urlsplit(link).scheme)
    except ValueError:  # such as https://[a/b
        return False
