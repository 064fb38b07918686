"""Finds checkpoints on the Hugging Face Hub: fetches the config of a folder, and keeps it in the cache.

The weights are fetched later, as those of any checkpoint: the config has their sha256 and size.
"""

from reidhub.cache.store import Cache
from reidhub.download.fetch import is_offline_by_environment
from reidhub.download.sources import open_stream
from reidhub.errors import FetchError, IntegrityError, SourceError
from reidhub.zoo.artifact import Artifact, Source
from reidhub.zoo.checkpoint import Checkpoint
from reidhub.zoo.hub_folder import CONFIG, LONGEST, WEIGHTS, FolderConfig, HubAddress, parse_config


def find_on_hub(address: HubAddress, cache: Cache) -> Checkpoint:
    """Make the checkpoint of a folder on the hub; its name is the address.

    The config is taken from the cache. If the cache does not have it, it is downloaded and kept.

    Raises:
        FetchError: the hub did not give the config.
        WeightsError: the config is not one that `reidhub publish` wrote.
        CacheError: the cache folder cannot be written.
    """
    source = address.locate(CONFIG)
    config = _read_kept(address, source, cache) or _download(address, source, cache)
    return config.make_checkpoint(str(address), address.locate(WEIGHTS))


def _read_kept(address: HubAddress, source: Source, cache: Cache) -> FolderConfig | None:
    """Read the config that the cache has kept; None if it has none, or if its bytes have changed since the download."""
    path = cache.find(_make_artifact(source))
    return parse_config(path.read_bytes(), f"{CONFIG} of {address}") if path else None


def _make_artifact(source: Source) -> Artifact:
    return Artifact(None, None, (source,))


def _download(address: HubAddress, source: Source, cache: Cache) -> FolderConfig:
    what = f"{CONFIG} of {address}"
    if is_offline_by_environment():
        raise FetchError(
            f"{what} is not in the cache, and reidhub is offline",
            hint="load it once with a network; the cache then keeps it",
        )
    try:
        text = _read(source)
        config = parse_config(text, what)  # checked before it is kept: the cache never replaces it
        with cache.open_incoming(name=what) as incoming:
            incoming.write(text)
            cache.keep(incoming, _make_artifact(source), name=what, source=source.location, checked_by="nothing")
    except SourceError as error:
        hint = error.hint or "check organisation, name and commit; a private repository needs $HF_TOKEN"
        raise FetchError(f"the hub did not give {what}: {error.message}", hint=hint) from error
    return config


def _read(source: Source) -> bytes:
    text = b""
    with open_stream(source) as stream:
        for chunk in stream.chunks:
            text += chunk
            if len(text) > LONGEST:
                raise IntegrityError(f"expected at most {LONGEST} bytes, and more keep coming")
    return text
