"""Screened Poisson reconstruction (Kazhdan and Hoppe, 2013) by its authors' PoissonRecon, in gpytoolbox, as a command of one thread.

    python benchmarks/poissonrecon_peer.py SCAN MESH DEPTH

Nothing is trimmed: it is asked for closed shapes.
"""

from __future__ import annotations

import argparse

import lpdif


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("mesh")
    parser.add_argument("depth", type=int)
    args = parser.parse_args()
    from gpytoolbox import point_cloud_to_mesh

    scan = lpdif.load_scan(args.scan)
    vertices, faces = point_cloud_to_mesh(scan.points, scan.normals, psr_depth=args.depth)
    lpdif.write_mesh(args.mesh, lpdif.Mesh(vertices, faces.astype("int64")), overwrite=True)


if __name__ == "__main__":
    main()
