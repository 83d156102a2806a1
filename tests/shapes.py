"""Shapes made by code: surfaces whose points, normals and distances are known exactly, and small networks and fields."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from lpdif.core.field import LocalField, RegionCodes
from lpdif.core.forms import ARRANGEMENTS, COUNT_V
from lpdif.core.model import Model, make_networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.optimizer import Optimizer, TrainingRegions, learning_rate
from lpdif.core.patterns import Patterns, Whitening, fit_patterns
from lpdif.core.regions import RegionLattice, region_lattices
from lpdif.lattice_keys import pack_keys
from lpdif.stages.region_samples import closed_shape_regions
from lpdif.types import Mesh

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def sphere_points(count: int, radius: float = 1.0, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Points uniform on a sphere around the origin, and their outward normals: two (count, 3) arrays."""
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def even_sphere_points(count: int, radius: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """The same, spread evenly along a spiral."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    normals = np.column_stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z])
    return radius * normals, normals


def rotation(seed: int) -> FloatArray:
    """A random rotation (3, 3)."""
    turned = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return np.asarray(turned * np.sign(np.linalg.det(turned)))


def wavy_regions(regions: int, points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Regions cut out of random smooth heights, randomly turned and shifted: points and unit normals (R, P, 3), float64."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-1, 1, (regions, points, 2))
    a = rng.uniform(-0.5, 0.5, (regions, 5))
    x, y = xy[..., 0], xy[..., 1]
    z = a[:, :1] * x * x + a[:, 1:2] * x * y + a[:, 2:3] * y * y + a[:, 3:4] * x**3 + a[:, 4:] * y**3
    dx = 2 * a[:, :1] * x + a[:, 1:2] * y + 3 * a[:, 3:4] * x * x
    dy = a[:, 1:2] * x + 2 * a[:, 2:3] * y + 3 * a[:, 4:] * y * y
    normals = np.stack([-dx, -dy, np.ones_like(dx)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    place = np.stack([x, y, z], -1)
    for r in range(regions):
        turn = rotation(1000 * seed + r)
        place[r], normals[r] = place[r] @ turn.T, normals[r] @ turn.T
    return torch.from_numpy(place + rng.uniform(-0.2, 0.2, (regions, 1, 3))), torch.from_numpy(normals)


def as_mesh(shape: trimesh.Trimesh) -> Mesh:
    """A trimesh shape as our Mesh."""
    return Mesh(np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces, dtype=np.int64))


def unit_shape(shape: trimesh.Trimesh) -> tuple[FloatArray, IntArray]:
    """Vertices with longest side 1, centred, and faces."""
    low, high = shape.bounds
    return (np.asarray(shape.vertices) - 0.5 * (low + high)) / float((high - low).max()), np.asarray(shape.faces, dtype=np.int64)


@cache
def training_regions(regions: int = 240, seed: int = 0) -> TrainingRegions:
    """Regions of a torus and a box at two sizes, with exact distances. Shared between tests: not to be written to."""
    parts = []
    for number, shape in enumerate((trimesh.creation.torus(1.0, 0.4), trimesh.creation.box((1.0, 0.7, 0.5)))):
        for size in (0.12, 0.2):
            rng = np.random.default_rng([seed, number, int(100 * size)])
            parts.append(closed_shape_regions(*unit_shape(shape), size, regions // 4, 64, 32, rng))

    def whole(name: str) -> Tensor:
        return torch.cat([torch.from_numpy(getattr(part, name)) for part in parts])

    return TrainingRegions(whole("points").half(), whole("normals").half(), whole("counts"), whole("queries"), whole("sdf"))


def random_decoder(patterns: int, code_size: int = 14, width: int = 8, seed: int = 0) -> MultiDecoder:
    """A decoder whose layers are all at work (a fresh one's last layer is zero)."""
    decoder = MultiDecoder(patterns, code_size, width)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return decoder.requires_grad_(False)


def random_frames(regions: int, seed: int) -> Tensor:
    """(R, 3, 3) float32 rotations."""
    return torch.from_numpy(np.stack([rotation(100 * seed + r) for r in range(regions)])).float()


def random_field(
    points: FloatArray, size: float, patterns: int = 2, levels: int = 1, seed: int = 0, arrangements: int = len(ARRANGEMENTS)
) -> LocalField:
    """A field with regions around points (N, 3) whose codes and decoders, and arrangements among the first so many, are random numbers."""
    rng = np.random.default_rng(seed)
    lattices = region_lattices(points, size, rng.integers(0, levels, len(points)))
    count = sum(len(lattice.keys) for lattice in lattices)
    generator = torch.Generator().manual_seed(seed)
    arrangement = torch.randint(arrangements, (count,), generator=generator)
    each = COUNT_V[arrangement]
    sheets = int(each.sum())
    codes = RegionCodes(
        center=np.concatenate([lattice.corners * lattice.size for lattice in lattices]),
        origin=0.1 * torch.randn((sheets, 3), generator=generator),
        axes=random_frames(sheets, seed),
        size=torch.cat([torch.full((len(lattice.keys),), lattice.size) for lattice in lattices]),
        code=0.3 * torch.randn((sheets, 14), generator=generator),
        pattern=torch.randint(patterns, (count,), generator=generator),
        support=0.01 + 0.99 * torch.rand(count, generator=generator),
        arrangement=arrangement,
        radius=0.01 + 0.5 * torch.rand(count, generator=generator),
        first=each.cumsum(0) - each,
    )
    return LocalField(lattices, codes, random_decoder(patterns, seed=seed), np.zeros(3))


def lattice_of(corners: list[tuple[int, int, int]], size: float, first: int = 0) -> RegionLattice:
    """A lattice with regions at these corners."""

    keys = np.sort(pack_keys(np.array(corners, dtype=np.int64).reshape(-1, 3)))
    return RegionLattice(size, keys, first)


def plain_patterns(centroids: Tensor, code_size: int) -> Patterns:
    """Patterns in the space of the first entries of a code."""
    return Patterns(
        Whitening(torch.zeros(code_size), torch.eye(code_size)[:, : centroids.shape[1]]),
        centroids,
        torch.zeros(len(centroids), dtype=torch.int64),
    )


@cache
def tiny_model() -> Model:
    """A model after a few dozen steps. Shared between tests: not to be written to."""
    data = training_regions()
    optimizer = Optimizer(make_networks(6, 8, 0), len(data.counts), torch.device("cpu"))
    for step in range(40):
        if step == 30:
            optimizer.branch(fit_patterns(optimizer.bank[optimizer.seen], 3, 0))
        optimizer.learn(data, 24, learning_rate(step, 40, 2e-3), 0)
    assert optimizer.patterns is not None
    return Model(optimizer.mean.eval().requires_grad_(False), optimizer.patterns, {"steps": 40})
