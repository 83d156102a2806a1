"""Hashes of what lpdif makes, to prove that a change of the code changes no result.

    python benchmarks/golden.py -o before.json SCAN...           # write the hashes
    python benchmarks/golden.py --against before.json SCAN...    # compare; exit code 1 where one differs

Of each scan: every array of its mesh. Besides, of shapes made by code: a fit of 200 steps, and the file of a field. Hashes hold for
one machine and one version of torch and numpy: floating point differs in its last bits elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import lpdif


def mesh_hash(mesh: lpdif.Mesh) -> str:
    """Of the bytes of all arrays of a mesh."""
    arrays = {"vertices": mesh.vertices, "faces": mesh.faces, "normals": mesh.normals, "colors": mesh.colors}
    arrays |= {f"vertex {name}": value for name, value in mesh.vertex_values.items()}
    arrays |= {f"face {name}": value for name, value in mesh.face_values.items()}
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        if array is not None:
            found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            found.update(array.tobytes())
    return found.hexdigest()


def fit_hash(folder: Path) -> str:
    """Of the model that 200 steps on two made scans give."""
    for seed in (0, 1):
        lpdif.write_scan(folder / f"scan{seed}.ply", lpdif.make_demo_scan(6000, seed=seed))
    place = folder / "workspace"
    lpdif.preprocess([folder], place, lpdif.PreprocessConfig(regions_per_shape=400), threads=1)
    config = lpdif.FitConfig(patterns=4, shared_steps=100, pattern_steps=100, batch=64, kde_every=50, reassign_every=50)
    lpdif.fit(place, config, device="cpu")
    return hashlib.sha256(lpdif.Workspace(place).model.read_bytes()).hexdigest()


def field_hash(folder: Path) -> str:
    """Of the file of a field."""
    path = folder / "field.safetensors"
    lpdif.save_field(path, lpdif.reconstruct(lpdif.make_demo_scan(5000)).field)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, help="scans or meshes to reconstruct")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, help="write the hashes here")
    where.add_argument("--against", type=Path, help="hashes to compare with")
    given = parser.parse_args()
    wanted = json.loads(given.against.read_text()) if given.against else {}
    found: dict[str, str] = {}

    def note(name: str, value: str, seconds: float) -> None:
        found[name] = value
        verdict = "" if not wanted else "same" if wanted.get(name) == value else "DIFFERS" if name in wanted else "new"
        print(f"{name:32} {value[:16]} {seconds:7.1f} s {verdict}", flush=True)

    for name, work in (("fit", fit_hash), ("field", field_hash)):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            note(name, work(Path(folder)), time.process_time() - began)
    for path in given.scans:
        began = time.process_time()
        note(path.stem, mesh_hash(lpdif.reconstruct(lpdif.load_scan(path)).mesh), time.process_time() - began)
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    if given.against and any(wanted.get(name) != value for name, value in found.items()):
        sys.exit(1)


if __name__ == "__main__":
    main()
