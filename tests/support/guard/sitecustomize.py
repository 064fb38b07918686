"""Imports the socket guard in every Python process that has this folder on PYTHONPATH."""

import socket_guard  # noqa: F401
