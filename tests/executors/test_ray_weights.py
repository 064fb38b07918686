"""Checkpoint files that come to a node through Ray's object store."""

from dataclasses import replace

import pytest

from reidhub.cache.store import Cache
from reidhub.errors import IntegrityError
from reidhub.executors.ray_weights import SharedFile
from reidhub.files.digest import Digest
from reidhub.zoo.manifest import zoo

ray = pytest.importorskip("ray")


def test_wrong_bytes_from_the_object_store_are_refused_and_right_ones_are_kept(monkeypatch):
    checkpoint = zoo().checkpoints[0]
    artifact = replace(checkpoint.artifact, digest=Digest.of_bytes(b"right"), size=5)
    checkpoint = replace(checkpoint, artifact=artifact)
    monkeypatch.setattr(ray, "get", lambda reference: reference)

    with pytest.raises(IntegrityError, match="sha256"):
        SharedFile(checkpoint, b"wrong").fetch()
    assert Cache().find(artifact) is None
    with pytest.raises(IntegrityError, match="5 bytes"):
        SharedFile(checkpoint, b"right, and more").fetch()

    assert SharedFile(checkpoint, b"right").fetch().read_bytes() == b"right"
    assert SharedFile(checkpoint, None).fetch() == Cache().find(artifact)
