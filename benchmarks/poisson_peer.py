"""Screened Poisson reconstruction (Kazhdan and Hoppe, 2013) by pymeshlab, as a command.

    python benchmarks/poisson_peer.py SCAN MESH DEPTH [--estimate-normals] [--threads N]

Nothing is trimmed: it is asked for closed shapes.
"""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("mesh")
    parser.add_argument("depth", type=int)
    parser.add_argument("--estimate-normals", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import pymeshlab

    meshes = pymeshlab.MeshSet(verbose=False)
    meshes.load_new_mesh(args.scan)
    if args.estimate_normals:
        meshes.compute_normal_for_point_clouds()
    meshes.generate_surface_reconstruction_screened_poisson(depth=args.depth, preclean=True, threads=args.threads)
    meshes.save_current_mesh(args.mesh, save_vertex_normal=False, save_vertex_color=False)


if __name__ == "__main__":
    main()
