"""No command asks for the network: neither a connection nor the address of a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import process_environment
from shapes import even_sphere_points

import lpdif

# An audit hook sees every socket that the process opens. Those of one machine, which have a path as their address, are no network.
SCRIPT = """
import sys

def hook(event, arguments):
    if event.startswith(("socket.getaddrinfo", "socket.gethostby", "urllib.")) or (
        event in ("socket.connect", "socket.sendto", "socket.bind") and isinstance(arguments[1], tuple)
    ):
        print("NETWORK", event, arguments[1:], flush=True)

sys.addaudithook(hook)
from lpdif_cli.main import run
for words in WORDS:
    print(words[0], run(words), flush=True)
"""


def told(words: list[list[str]], folder: Path, more: str = "") -> list[str]:
    """The name and exit code of each command, and what it asked for."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("WORDS", repr(words)) + more],
        cwd=folder,
        env=process_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [line for line in ran.stdout.splitlines() if line.startswith(("NETWORK", *(f"{word[0]} " for word in words)))]


@pytest.mark.slow
def test_no_command_asks_for_the_network(tmp_path: Path) -> None:
    lpdif.write_scan(tmp_path / "scan.ply", lpdif.Scan(*even_sphere_points(400)))
    words = [
        ["reconstruct", "scan.ply", "-o", "mesh.ply", "--report", "report.html"],
        ["view", "mesh.ply", "scan.ply", "-o", "page.html"],
        ["evaluate", "mesh.ply", "mesh.ply"],
        ["inspect", "mesh.ply"],
        ["doctor", "--device", "cpu"],
        ["config", "show"],
        ["demo", "-o", "demo.ply"],
    ]
    assert told(words, tmp_path) == [f"{word[0]} 0" for word in words]


def test_what_asks_would_be_seen(tmp_path: Path) -> None:
    found = told([["config", "show"]], tmp_path, "import socket\nsocket.getaddrinfo('127.0.0.1', 9)\n")
    assert found[0] == "config 0"
    assert found[1].startswith("NETWORK socket.getaddrinfo")
