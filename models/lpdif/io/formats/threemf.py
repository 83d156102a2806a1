"""3MF, the format of slicers: the meshes of its build, moved to their places, with the colours of their corners.

An archive of XML documents. These are parsed without declarations of entities, and nothing outside the archive is opened.
"""

from __future__ import annotations

import io
import logging
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.io.polygons import first_outside, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

Handler = Callable[[str, dict[str, str]], None]

_RELATIONS = "_rels/.rels"
_ROOT_PART = "3D/3dmodel.model"
_MODEL_TYPE = "3dmodel"  # how the type of the relation to the root model ends
_DEEPEST = 32  # Components lie so deep in others, at most.
_NO_COLOR = -1.0
_STEP_BYTES = 128  # What it takes to look at a component counts as so many bytes: components of components multiply.
_LEFT_OUT = ("support",)  # types of objects that are no part of the thing
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass
class _Object:
    """An object of a model: a mesh, or components (part, object, matrix); its default colour; and the colours of corners."""

    kind: str = "model"
    default: tuple[str, str] = ("", "")
    vertices: list[float] = field(default_factory=list)
    corners: list[int] = field(default_factory=list)
    properties: list[tuple[str, str, str, str]] = field(default_factory=list)  # the group of each triangle, and the entry of each corner
    components: list[tuple[str, str, FloatArray]] = field(default_factory=list)


@dataclass
class _Model:
    """A document: its objects and groups of colours by number, what is to be built, and its unit."""

    unit: str = "millimeter"
    objects: dict[str, _Object] = field(default_factory=dict)
    colors: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    items: list[tuple[str, str, FloatArray]] = field(default_factory=list)


def is_3mf(source: Source) -> bool:
    """Whether the file is a zip archive that holds the model of a 3MF."""
    return any(name.lower().endswith("3dmodel.model") for name in source.zip_names() or ())


def read_3mf(source: Source) -> Scan:
    """Reads the meshes that a 3MF builds, as one.

    Raises InputError for a damaged archive, one that unpacks to far more than its size, and where an object or point is missing.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            return _Reader(source, archive).scan()
    except _ZIP_ERRORS as error:
        raise source.error(f"damaged 3MF archive ({error})", DOWNLOAD_AGAIN) from None


class _Reader:
    """Reads the documents of an archive as they are needed."""

    def __init__(self, source: Source, archive: zipfile.ZipFile) -> None:
        self.source, self.archive = source, archive
        self.names = {name.lower().lstrip("/"): name for name in archive.namelist()}
        self.models: dict[str, _Model] = {}
        self.unpacked = 0

    def scan(self) -> Scan:
        """The meshes of all items of the build; of all objects where there is no build."""
        root = self._root()
        model = self._model(root)
        items = model.items or [(root, number, np.eye(4)) for number in model.objects]
        points: list[FloatArray] = []
        faces: list[IntArray] = []
        colors: list[FloatArray] = []
        total = 0
        for part, number, matrix in items:
            for vertices, corners, own in self._meshes(part or root, number, matrix, 0):
                points.append(vertices)
                faces.append(corners + total)
                colors.append(own)
                total += len(vertices)
        if not total:
            raise self.source.empty("nothing is built")
        log.info("%s: %s, unit: %s", self.source.name, counted(len(points), "object"), model.unit)
        whole, corners = np.concatenate(points), np.concatenate(faces)
        kept = triangulate(corners.reshape(-1), np.full(len(corners), 3), whole, self.source.name)
        painted = np.concatenate(colors)
        used = np.unique(corners)
        colored = np.asarray((painted >= 0).all(axis=1))
        if colored.any() and not colored[used].all():
            log.info("%s: colours left out: not all of its triangles have one", self.source.name)
        return Scan(
            whole,
            colors=np.rint(np.maximum(painted, 0)).astype(np.uint8) if len(used) and colored[used].all() else None,
            faces=kept if len(kept) else None,
            name=self.source.name,
        )

    def _root(self) -> str:
        """The path of the document that the archive begins with."""
        found: list[str] = []

        def start(tag: str, given: dict[str, str]) -> None:
            if tag == "Relationship" and given.get("Type", "").endswith(_MODEL_TYPE):
                found.append(given.get("Target", ""))

        if _RELATIONS in self.names:
            self._parse(_RELATIONS, start)
        return found[0] if found else _ROOT_PART

    def _model(self, part: str) -> _Model:
        """The document at this path."""
        if part not in self.models:
            model = _Model()
            self._parse(part, _handler(model, part))
            self.models[part] = model
        return self.models[part]

    def _parse(self, part: str, start: Handler) -> None:
        """Parses a document; `start` gets the tag, without its namespace, and the attributes of each element."""
        name = self.names.get(posixpath.normpath(part).lstrip("/").lower())
        if name is None:
            raise self.source.error(f"its part {part[:80]} is not there", DOWNLOAD_AGAIN)
        with self.archive.open(name) as file:
            data = file.read(self.source.most_unpacked + 1)
        self._count(len(data))
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True

        def refuse(*_: object) -> None:
            raise self.source.error(f"its part {part[:80]} declares a document type, which no 3MF has")

        parser.StartDoctypeDeclHandler = refuse
        parser.StartElementHandler = lambda tag, given: start(tag.rpartition(" ")[2], given)
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise self.source.error(f"its part {part[:80]} is damaged ({error})", DOWNLOAD_AGAIN) from None
        except (KeyError, ValueError, OverflowError) as error:
            line = parser.CurrentLineNumber
            raise self.source.error(f"its part {part[:80]}, line {line}: {str(error)[:80]} is missing or no number", DOWNLOAD_AGAIN) from None

    def _count(self, size: int) -> None:
        """Counts bytes. Raises InputError where the archive unpacks to so many that it is no scan."""
        self.unpacked += size
        if self.unpacked > self.source.most_unpacked:
            raise self.source.error(f"unpacks to more than {UNPACKED_TIMES} times its size", "export its parts one by one")

    def _meshes(self, part: str, number: str, matrix: FloatArray, depth: int) -> Iterator[tuple[FloatArray, IntArray, FloatArray]]:
        """Points (N, 3), triangles (F, 3) and colours (N, 3) of an object and all components in it, moved by `matrix`."""
        self._count(_STEP_BYTES)
        model = self._model(part)
        found = model.objects.get(number)
        if found is None:
            raise self.source.error(f"its object {number[:20]} is not there", DOWNLOAD_AGAIN)
        if depth > _DEEPEST:
            raise self.source.error(f"its object {number[:20]} lies in more than {_DEEPEST} others, or in itself")
        if found.kind in _LEFT_OUT:
            log.info("%s: object %s left out: it is a %s", self.source.name, number[:20], found.kind)
            return
        for where, component, own in found.components:
            yield from self._meshes(where or part, component, own @ matrix, depth + 1)
        if not found.vertices:
            return
        vertices = np.array(found.vertices).reshape(-1, 3)
        corners = np.array(found.corners, dtype=np.int64).reshape(-1, 3)
        self._count(vertices.nbytes + corners.nbytes)
        outside = first_outside(corners.reshape(-1), len(vertices))
        if outside is not None:
            at, row = corners.reshape(-1)[outside], outside // 3 + 1
            raise self.source.error(f"triangle {row} of object {number[:20]} uses point {at}, but points go from 0 to {len(vertices) - 1}")
        turned = np.linalg.det(matrix[:3, :3]) < 0  # a mirror turns triangles round
        try:
            colors = _colors(model, found, corners, len(vertices))
        except ValueError as error:
            raise self.source.error(f"object {number[:20]}: {error}", DOWNLOAD_AGAIN) from None
        yield vertices @ matrix[:3, :3] + matrix[3, :3], corners[:, ::-1] if turned else corners, colors


def _handler(model: _Model, part: str) -> Handler:
    """What adds the elements of a document to a model."""
    now = _Object()
    group: list[tuple[float, float, float]] = []

    def start(tag: str, given: dict[str, str]) -> None:
        nonlocal now, group
        if tag == "vertex":
            now.vertices += (float(given["x"]), float(given["y"]), float(given["z"]))
        elif tag == "triangle":
            now.corners += (int(given["v1"]), int(given["v2"]), int(given["v3"]))
            first = given.get("p1", "")
            now.properties.append((given.get("pid", ""), first, given.get("p2", first), given.get("p3", first)))
        elif tag == "object":
            now = model.objects[given["id"]] = _Object(given.get("type", "model"), (given.get("pid", ""), given.get("pindex", "")))
        elif tag in ("component", "item"):
            path = next((value for key, value in given.items() if key.rpartition(" ")[2] == "path"), part)
            (now.components if tag == "component" else model.items).append((path, given["objectid"], _matrix(given.get("transform", ""))))
        elif tag in ("colorgroup", "basematerials"):
            group = model.colors[given["id"]] = []
        elif tag in ("color", "base"):
            word = given.get("color") or given.get("displaycolor", "")
            group.append((int(word[1:3], 16), int(word[3:5], 16), int(word[5:7], 16)))
        elif tag == "model":
            model.unit = given.get("unit", model.unit)

    return start


def _matrix(words: str) -> FloatArray:
    """The matrix (4, 4) for row vectors by its twelve numbers; none moves nothing."""
    matrix = np.eye(4)
    if words.strip():
        numbers = np.array([float(word) for word in words.split()])
        if len(numbers) != 12 or not np.isfinite(numbers).all():
            raise ValueError("transform")
        matrix[:, :3] = numbers.reshape(4, 3)
    return matrix


def _colors(model: _Model, found: _Object, corners: IntArray, number: int) -> FloatArray:
    """The colours (number, 3) of the points of an object: the mean of those of their corners, and _NO_COLOR where there are none.

    Raises ValueError where a triangle names a colour that its group does not have.
    """
    if not model.colors:
        return np.full((number, 3), _NO_COLOR)
    sums, around = np.zeros((number, 3)), np.zeros(number)
    group, entry = found.default
    for row, (triangle, (own, *entries)) in enumerate(zip(corners.tolist(), found.properties, strict=True), start=1):
        colors = model.colors.get(own or group)
        for point, named in zip(triangle, entries, strict=True):
            place = named or entry
            if colors is None or not place:
                continue
            if not place.isdecimal() or int(place) >= len(colors):
                raise ValueError(f"triangle {row} has colour {place[:20]}, but its group has {counted(len(colors), 'colour')}")
            sums[point] += colors[int(place)]
            around[point] += 1
    return np.where(around[:, None] > 0, sums / np.maximum(around, 1)[:, None], _NO_COLOR)
