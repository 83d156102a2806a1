"""What goes in and what comes out: a scan, a mesh, facts about them, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray, NumberArray
from lpdif.errors import InputError
from lpdif.text import counted

if TYPE_CHECKING:
    import trimesh

MINIMUM_POINTS = 32  # distinct points a scan must have


@dataclass(frozen=True)
class Scan:
    """Points with whatever the file said about them.

    points   (N, 3) float64, world coordinates, in the file's own unit; may hold NaN rows (cleaning drops them)
    normals  (N, 3) float64 as given (not checked, not unit), or None
    colors   (N, 3) uint8, or None
    extras   name -> (N,) array: intensity, labels and other per-point values
    faces    (F, 3) int64 into `points` if the file was a mesh, else None
    sensor   (3,) or (N, 3) float64 scanner position(s), where the file gives them, else None
    name     for messages: the file's name
    face_values  name -> (F,) array: pattern and other values of the faces of a PLY
    pattern_names  number of a pattern -> its name, where the file tells it

    Lists and arrays of other number types are converted. Raises InputError for other shapes, and for what holds no numbers.
    """

    points: FloatArray
    normals: FloatArray | None = None
    colors: NDArray[np.uint8] | None = None
    extras: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    faces: IntArray | None = None
    sensor: FloatArray | None = None
    name: str = "scan"
    face_values: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    pattern_names: dict[int, str] = field(default_factory=dict)

    @property
    def arrays(self) -> list[NDArray[np.generic]]:
        """All that it holds."""
        columns = [self.points, self.normals, self.colors, self.faces, self.sensor]
        return [array for array in columns if array is not None] + [*self.extras.values(), *self.face_values.values()]

    def __post_init__(self) -> None:
        self._convert("points", np.float64, ("N", 3))
        count = len(self.points)
        self._convert("normals", np.float64, (count, 3))
        self._convert("colors", np.uint8, (count, 3))
        self._convert("faces", np.int64, ("F", 3))
        self._convert("sensor", np.float64, (3,), (count, 3))
        self._check_values("extras", self.extras, count, "point")
        self._check_values("face_values", self.face_values, 0 if self.faces is None else len(self.faces), "face")

    def _check_values(self, name: str, values: dict[str, NDArray[np.generic]], count: int, noun: str) -> None:
        """Raises InputError unless each of the values has one row for each of so many points or faces."""
        for key, column in values.items():
            if np.shape(column)[:1] != (count,):
                given = f"{len(np.atleast_1d(column)):,} values for {counted(count, noun)}"
                raise InputError(f"{self.name}: {name}[{key!r}] has {given}", f"give one a {noun}")

    def _convert(self, name: str, kind: type[np.generic], *shapes: tuple[int | str, ...]) -> None:
        """Makes a part of the scan an array of this kind.

        Raises InputError unless it has one of the shapes, in which a letter stands for any length.
        """
        value = getattr(self, name)
        if value is None and name != "points":
            return
        wanted = " or ".join(f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" for shape in shapes)
        try:
            given = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise InputError(f"{self.name}: {name} are no array: {error}", f"give an array {wanted}") from None
        kinds, numbers = ("iuf", "numbers") if np.issubdtype(kind, np.floating) else ("iu", "whole numbers")
        if given.dtype.kind not in kinds:
            raise InputError(f"{self.name}: {name} are no {numbers}, but {given.dtype}", f"give an array {wanted}")
        array = given.astype(kind, copy=False)
        if numbers == "whole numbers" and array is not given and not np.array_equal(array, given):
            raise InputError(f"{self.name}: {name} hold numbers that {np.dtype(kind)} has no room for", f"scale them to {np.dtype(kind)}")
        if not any(len(shape) == array.ndim and all(n in ("N", "F", m) for n, m in zip(shape, array.shape, strict=True)) for shape in shapes):
            raise InputError(f"{self.name}: {name} have the shape {array.shape}, expected {wanted}", "one row a point, with x, y and z")
        if array is not value:
            object.__setattr__(self, name, array)


@dataclass(frozen=True)
class Texture:
    """A picture of the colours of a mesh, and where each face lies in it.

    coordinates  (F, 3, 2) float64 of the corners of faces, from 0 to 1, the first to the right, the second upwards
    image        (S, S, 3) uint8, sRGB, row 0 at the top
    """

    coordinates: FloatArray
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Mesh:
    """Triangles, outward when counter-clockwise.

    vertices       (V, 3) float64, world coordinates
    faces          (F, 3) int32, or int64 where they are too many
    normals        (V, 3) float64 unit, or None
    colors         (V, 3) uint8, or None
    vertex_values  name -> (V,) array: confidence, carried intensity and labels
    face_values    name -> (F,) array: pattern
    texture        its colours as a picture, or None
    pattern_names  number of a pattern -> its name, as "convex edge" or "smooth 3"
    """

    vertices: FloatArray
    faces: NumberArray
    normals: FloatArray | None = None
    colors: NDArray[np.uint8] | None = None
    vertex_values: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    face_values: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    texture: Texture | None = None
    pattern_names: dict[int, str] = field(default_factory=dict)

    def to_trimesh(self) -> trimesh.Trimesh:
        """The mesh as trimesh has it, with normals, colours, and values as attributes; vertices and faces keep their order.

        Without its texture, which would split vertices.
        """
        import trimesh

        return trimesh.Trimesh(
            self.vertices,
            self.faces,
            vertex_normals=self.normals,
            vertex_colors=self.colors,
            vertex_attributes=dict(self.vertex_values),
            face_attributes=dict(self.face_values),
            process=False,
        )


# (what is being done, units done, units in all)
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The Progress that shows nothing."""


Facts = dict[str, float | int | str]
