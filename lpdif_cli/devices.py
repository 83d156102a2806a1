"""Checks that the device exists, before anything is read."""

from __future__ import annotations

import logging

from lpdif.device import resolve

log = logging.getLogger("lpdif")


def check_device(name: str) -> None:
    """Raises ResourceError where a CUDA device is missing. Loads torch for that, but not for cpu and auto."""
    if not name.startswith("cuda"):
        return
    level = log.level
    log.setLevel(logging.WARNING)  # the run itself logs its device
    try:
        resolve(name)
    finally:
        log.setLevel(level)
