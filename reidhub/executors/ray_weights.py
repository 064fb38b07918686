"""Sends checkpoint files to the nodes of a Ray cluster. The nodes download nothing."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from reidhub.cache.store import Cache
from reidhub.files.digest import Digest
from reidhub.zoo.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A checkpoint file whose bytes are in Ray's object store.

    Args:
        checkpoint: the checkpoint, with the sha256 and the size of its file on the driver's machine. It is never an
            `OwnCheckpoint`, because a path of the driver means nothing on a node.
        content: reference to the bytes in the object store.
    """

    checkpoint: Checkpoint
    content: Any

    @classmethod
    def share(cls, checkpoint: Checkpoint, path: Path) -> Self:
        """Put the file of a checkpoint into the object store, once for all nodes."""
        import ray

        content = path.read_bytes()
        digest = Digest.of_bytes(content)
        artifact = replace(checkpoint.artifact, digest=digest, size=len(content))
        known = {field.name: getattr(checkpoint, field.name) for field in fields(Checkpoint)}
        return cls(Checkpoint(**known | {"artifact": artifact}), ray.put(content))

    def fetch(self) -> Path:
        """Return the path of the file in this node's cache; if it is not there, the bytes come from the object store.

        Raises:
            IntegrityError: the bytes have another size or sha256.
            CacheError: the cache of this node cannot be written.
        """
        import ray

        cache, artifact = Cache(), self.checkpoint.artifact
        if found := cache.find(artifact):
            return found
        with cache.open_incoming() as incoming:
            incoming.write(ray.get(self.content))
            return cache.keep(incoming, artifact, name=self.checkpoint.name, source="ray", checked_by="sha256")
