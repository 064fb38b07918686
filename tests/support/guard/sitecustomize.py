"""Imported by every Python process that has this folder on PYTHONPATH: brings the guard in."""

import socket_guard  # noqa: F401
