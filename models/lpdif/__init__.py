"""lpdif: scans to meshes with local, pattern-specific implicit functions.

    import lpdif

    scan = lpdif.load_scan("scan.ply")
    mesh = lpdif.reconstruct(scan).mesh
    lpdif.write_mesh("mesh.ply", mesh)

The names below are loaded when they are first used (PEP 562): `import lpdif` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpdif.config import ClusterConfig as ClusterConfig
    from lpdif.config import Config as Config
    from lpdif.config import FitConfig as FitConfig
    from lpdif.config import PreprocessConfig as PreprocessConfig
    from lpdif.config import ReconstructConfig as ReconstructConfig
    from lpdif.core.field import LocalField as LocalField
    from lpdif.core.model import Model as Model
    from lpdif.device import use_threads as use_threads
    from lpdif.errors import LpdifError as LpdifError
    from lpdif.io.read import load_scan as load_scan
    from lpdif.io.read import read_scan as read_scan
    from lpdif.io.trajectory import Trajectory as Trajectory
    from lpdif.io.trajectory import load_trajectory as load_trajectory
    from lpdif.io.trajectory import seen_along as seen_along
    from lpdif.io.write import encode_mesh as encode_mesh
    from lpdif.io.write import write_mesh as write_mesh
    from lpdif.io.write import write_scan as write_scan
    from lpdif.stages.cluster import cluster as cluster
    from lpdif.stages.expectation import expect as expect
    from lpdif.stages.fit import fit as fit
    from lpdif.stages.preprocess import preprocess as preprocess
    from lpdif.stages.reconstruct import Reconstruction as Reconstruction
    from lpdif.stages.reconstruct import reconstruct as reconstruct
    from lpdif.storage.field_file import load_field as load_field
    from lpdif.storage.field_file import save_field as save_field
    from lpdif.storage.models import load_model as load_model
    from lpdif.storage.workspace import Workspace as Workspace
    from lpdif.tools.demo_scan import make_demo_scan as make_demo_scan
    from lpdif.tools.metrics import Figures as Figures
    from lpdif.tools.metrics import evaluate as evaluate
    from lpdif.types import Mesh as Mesh
    from lpdif.types import Scan as Scan

__version__ = "0.2.0"

__all__ = [
    "ClusterConfig",
    "Config",
    "Figures",
    "FitConfig",
    "LocalField",
    "LpdifError",
    "Mesh",
    "Model",
    "PreprocessConfig",
    "ReconstructConfig",
    "Reconstruction",
    "Scan",
    "Trajectory",
    "Workspace",
    "__version__",
    "cluster",
    "encode_mesh",
    "evaluate",
    "expect",
    "fit",
    "load_field",
    "load_model",
    "load_scan",
    "load_trajectory",
    "make_demo_scan",
    "preprocess",
    "read_scan",
    "reconstruct",
    "save_field",
    "seen_along",
    "use_threads",
    "write_mesh",
    "write_scan",
]

# where each public name lives
_DOOR = {
    "ClusterConfig": "config",
    "Config": "config",
    "Figures": "tools.metrics",
    "FitConfig": "config",
    "LocalField": "core.field",
    "LpdifError": "errors",
    "Mesh": "types",
    "Model": "core.model",
    "PreprocessConfig": "config",
    "ReconstructConfig": "config",
    "Reconstruction": "stages.reconstruct",
    "Scan": "types",
    "Trajectory": "io.trajectory",
    "Workspace": "storage.workspace",
    "cluster": "stages.cluster",
    "encode_mesh": "io.write",
    "evaluate": "tools.metrics",
    "expect": "stages.expectation",
    "fit": "stages.fit",
    "load_field": "storage.field_file",
    "load_model": "storage.models",
    "load_scan": "io.read",
    "load_trajectory": "io.trajectory",
    "make_demo_scan": "tools.demo_scan",
    "preprocess": "stages.preprocess",
    "read_scan": "io.read",
    "reconstruct": "stages.reconstruct",
    "save_field": "storage.field_file",
    "seen_along": "io.trajectory",
    "use_threads": "device",
    "write_mesh": "io.write",
    "write_scan": "io.write",
}


def __getattr__(name: str) -> Any:
    if name not in _DOOR:
        raise AttributeError(f"module 'lpdif' has no attribute {name!r}")
    value = getattr(import_module(f"lpdif.{_DOOR[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
