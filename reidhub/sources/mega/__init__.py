"""Mega: files behind links that carry the key to the content, and its MAC.

`ContentMac` holds bytes from any source to a Mega link; `mac_of` reads the MAC that a link carries.
"""

from reidhub.sources.mega.link import Link, mac_of
from reidhub.sources.mega.mac import ContentMac
from reidhub.sources.mega.transfer import open_stream, probe

__all__ = ["ContentMac", "Link", "mac_of", "open_stream", "probe"]
