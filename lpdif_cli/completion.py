"""What a shell offers when Tab is pressed: names of scans and meshes by their endings, and the words that an option takes.

Where nothing is offered, the shell completes names of files by itself. Loads no heavy package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path


def among(*words: str) -> Callable[[str], list[str]]:
    """Completes the words that an option takes."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def scans(incomplete: str) -> list[str]:
    """Completes names of files that can be read, and of folders."""
    from lpdif.io.registry import all_endings

    endings = all_endings()
    return [name for path, name in beside(incomplete) if path.is_dir() or path.name.lower().endswith(endings)]


def meshes(incomplete: str) -> list[str]:
    """Completes the ending of a mesh file that is being named, names of such files, and of folders."""
    from lpdif.io.write import MESH_FORMATS

    endings = tuple(f".{kind}" for kind in MESH_FORMATS)
    found = [name for path, name in beside(incomplete) if path.is_dir() or path.name.lower().endswith(endings)]
    stem, dot, begun = incomplete.rpartition(".")
    if dot and stem and not stem.endswith("/"):
        found += [f"{stem}{ending}" for ending in endings if ending.startswith(f".{begun}") and f"{stem}{ending}" not in found]
    return found


def models(incomplete: str) -> list[str]:
    """Completes names of model files, of folders, and the word for the model that ships with lpdif."""
    found = [name for path, name in beside(incomplete) if path.is_dir() or path.suffix == ".safetensors"]
    return [*among("bundled")(incomplete), *found]


def beside(incomplete: str) -> Iterator[tuple[Path, str]]:
    """The files and folders whose path begins so, in order, each with what to type: folders end in a slash."""
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    head = "" if incomplete.endswith("/") else Path(incomplete).name
    before = incomplete[: len(incomplete) - len(head)]
    try:
        paths = sorted(folder.iterdir())
    except OSError:  # it is no folder, or may not be read: there is nothing to offer
        return
    for path in paths:
        if path.name.startswith(head) and (head or not path.name.startswith(".")):
            yield path, f"{before}{path.name}{'/' if path.is_dir() else ''}"
