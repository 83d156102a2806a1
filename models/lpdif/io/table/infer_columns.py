"""Names for the columns of a table that has none, from the ranges of their values."""

from __future__ import annotations

import numpy as np

from lpdif.arrays import FloatArray

_SAMPLE = 20_000  # rows that tell what columns are
_EPOCH = 1e8  # seconds since 1970, or any smaller part of these: no coordinate is so large
_FARTHEST = 1e7  # metres: the largest coordinate on Earth
_SMOOTH = 0.2  # of the standard deviation of a column, the median step to the next cell
_SCANS = 20  # scans that are numbered in one file
_SURE = 0.15  # by how much one of two columns fits colours better, to be one for sure
_IN_A_CELL = 8  # points, about: near ones have near colours


def guess_names(values: FloatArray, intensity_first: bool) -> list[str]:
    """Names for the columns of a table (N, C >= 3) that has none, from the ranges of their values: those of `guess`."""
    return guess(values, intensity_first)[0]


def guess(values: FloatArray, intensity_first: bool) -> tuple[list[str], str]:
    """Names for the columns of a table (N, C >= 3) that has none, and what else they might be ("" where nothing speaks for that).

    The first three are coordinates, after what `_columns_before` finds. Then, from left to right: three columns of unit length are
    normals, three of 0..255 or 0..1 are colours, any other column is a value on its own. Of four columns of bytes at the end, three
    are colours. intensity_first: the column after the coordinates is an intensity if exactly four are left (the layout of PTS).
    """
    total, sample = values.shape[1], _sampled(values)
    names, doubt = _columns_before(values)
    names += ["x", "y", "z"]
    scalars, points = 0, sample[:, len(names) - 3 : len(names)]
    if intensity_first and total - len(names) == 4:
        names.append("intensity")
    while len(names) < total:
        rest = sample[:, len(names) :]
        triple = rest[:, :3]
        if triple.shape[1] == 3 and len(triple):
            if "nx" not in names and _are_normals(triple):
                names += ["nx", "ny", "nz"]
                continue
            if "red" not in names and _are_colors(triple):
                if rest.shape[1] in (4, 5) and _are_bytes(rest) and (rest.shape[1] == 4 or (rest[:, 4] == 255).all()):
                    four, other = _colors_of_four(points, rest[:, :4])
                    names, doubt = names + four, doubt or other
                else:
                    names += ["red", "green", "blue"]
                continue
        if names[-1] == "blue" and len(rest) and (rest[:, 0] == (1 if sample[:, len(names) - 3 : len(names)].max() <= 1 else 255)).all():
            names.append("alpha")
            continue
        scalars += 1
        names.append("intensity" if scalars == 1 and "intensity" not in names else f"value{scalars}")
    return names, doubt


def _columns_before(values: FloatArray) -> tuple[list[str], str]:
    """What stands before x, y and z in a table (N, C >= 3) without names: names, "" for a column that is none of a point's.

    A number of the row, a time, or a colour: whole numbers before three columns with decimals. So are the number of a scan, and row and
    column of a scanner's raster; but slices of constant x and a grid of heights look like these, so that colours or normals must stand
    behind, or all three go on smoothly from cell to cell. Second comes what else it might be, "" where nothing speaks for that.
    """
    if values.shape[1] < 4 or len(values) < 8:
        return [], ""
    first = values[:, 0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.diff(first)
    if first[0] in (0, 1) and (step == 1).all():
        return [""], ""
    head = _sampled(values[:, :6])
    if len(head) < 8:
        return [], ""
    whole, decimal = (head == np.rint(head)).all(axis=0), (head != np.rint(head)).mean(axis=0) > 0.5
    rising = bool((step >= 0).all())
    if head[:, 0].min() >= _EPOCH and rising and np.abs(head[:, 1:4]).max() < _FARTHEST:
        return ["time"], ""
    if whole[0] and decimal[1:4].all() and (step > 0).all():
        return [""], ""
    if _are_normals_or_fractions(head[:, 3:6]):
        return [], ""
    if whole[0] and decimal[1:4].all():
        return ([""], "") if rising and _numbers_scans(first) and _triple_at(values, 4) else ([], "x y z may be its columns 2 to 4")
    if whole[:2].all() and decimal[2:5].sum() == 3:
        in_raster = _in_order(head[:, 0], head[:, 1]) or _in_order(head[:, 1], head[:, 0])
        numbered = in_raster and set(head[:, :2].min(axis=0)) <= {0, 1} and (_triple_at(values, 5) or _go_on(head[:, 2:5]))
        return (["", ""], "") if numbered else ([], "x y z may be its columns 3 to 5")
    if whole[:3].all() and decimal[3:6].sum() == 3 and head[:, :3].min() >= 0 and head[:, :3].max() <= 255:
        if _in_order(*head[:, :3].T) or _in_order(*head[:, 2::-1].T) or _fill_cells(head[:, :3]):  # voxels, with values
            return [], ""
        return (["red", "green", "blue"], "") if head[:, :3].max() > 127 else ([], "x y z may be its columns 4 to 6")
    return [], "the first may be the number of the row" if whole[0] and (step > 0).all() else ""


def _numbers_scans(column: FloatArray) -> bool:
    """Whether rising whole numbers are one, or 0, 1, 2... or 1, 2, 3... for a few scans."""
    numbers = np.unique(column)
    return len(numbers) == 1 or bool(len(numbers) <= _SCANS and numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())


def _triple_at(values: FloatArray, column: int) -> bool:
    """Whether normals, or colours that are bytes, begin with this column of a table (N, C), or the next, behind an intensity."""
    rest = _sampled(values[:, column : column + 4])
    triples = [rest[:, start : start + 3] for start in (0, 1) if rest.shape[1] >= start + 3]
    return any(_are_normals(triple) or (_are_bytes(triple) and _are_colors(triple) and float(triple.max()) > 1) for triple in triples)


def _go_on(triple: FloatArray) -> bool:
    """Whether three columns (N, 3), from row to row, mostly change by little of their spread."""
    spread = triple.std(axis=0)
    return bool((np.median(np.abs(np.diff(triple, axis=0)), axis=0) < _SMOOTH * spread).all())


def _fill_cells(cells: FloatArray) -> bool:
    """Whether whole numbers (N, 3) are places of a grid, each once and most beside another: colours repeat, or lie far apart."""
    from scipy.spatial import cKDTree

    if len(np.unique(cells, axis=0)) < len(cells):
        return False
    return bool(np.median(cKDTree(cells).query(cells, k=2)[0][:, 1]) < 2)


def _in_order(*columns: FloatArray) -> bool:
    """Whether rows rise by the first column, those of one value in it by the second, and so on: cells of a raster."""
    after = np.zeros(len(columns[0]) - 1, dtype=bool)
    for column in reversed(columns):
        step = np.diff(column)
        after = (step > 0) | ((step == 0) & after)
    return bool(after.all())


def _sampled(values: FloatArray) -> FloatArray:
    """Rows (M <= 40,000, C) of a table (N, C), in their order, without those that hold NaN or infinity."""
    sample = values[:: max(1, len(values) // _SAMPLE)].astype(np.float64)
    return sample[np.isfinite(sample).all(axis=1)]


def _are_normals(triple: FloatArray) -> bool:
    """Whether rows of three columns (N, 3) have unit length, but for zeros."""
    with np.errstate(over="ignore"):
        length = np.linalg.norm(triple, axis=1)
    given = length > 0
    if not given.any():
        return False
    return bool((np.abs(length[given] - 1) < 0.02).mean() > 0.9) and bool((np.abs(triple) <= 1.01).all())


def _are_normals_or_fractions(triple: FloatArray) -> bool:
    """Whether three columns (N, 3) with decimals are normals, or colours from 0 to 1."""
    return triple.shape[1] == 3 and (_are_normals(triple) or (bool((triple >= 0).all()) and 0 < float(triple.max()) <= 1))


def _are_colors(triple: FloatArray) -> bool:
    low, high = triple.min(), triple.max()
    whole = bool((triple == np.rint(triple)).all())
    return bool(low >= 0) and bool(high > 0) and (bool(high <= 1) or (whole and bool(high <= 255)))


def _are_bytes(values: FloatArray) -> bool:
    return bool((values == np.rint(values)).all()) and bool(values.min() >= 0) and bool(values.max() <= 255)


def _colors_of_four(points: FloatArray, four: FloatArray) -> tuple[list[str], str]:
    """Names of four columns of bytes (N, 4): colours with an opacity behind, or a value before or behind; and another way to name them.

    What is no colour has few values, or goes less with the two columns in the middle, which are colours either way.
    """
    colors = ["red", "green", "blue"]
    if (four[:, 3] == 255).all():
        return [*colors, "alpha"], ""
    number = [len(np.unique(column)) for column in four.T]
    if 2 * number[3] < min(number[:3]):
        return [*colors, "intensity"], ""
    first, last = (_goes_with(points, four[:, column], four[:, 1:3]) for column in (0, 3))
    sure = max(_SURE, 2 / np.sqrt(len(four)))  # by chance few rows are like others
    if 2 * number[0] < min(number[1:]) or last > first + sure:
        return ["intensity", *colors], ""
    if first > last + sure:
        return [*colors, "intensity"], ""
    return ["intensity", *colors], "the last four may be red green blue intensity"


def _goes_with(points: FloatArray, column: FloatArray, colors: FloatArray) -> float:
    """How much a column (N,) is like colours (N, K) of points (N, 3): by correlation, and in how it varies among near points."""
    columns = np.column_stack([column, colors])
    columns = columns - columns.mean(axis=0)
    spread = columns.std(axis=0)
    columns /= np.where(spread > 0, spread, 1)
    likeness = float((columns[:, :1] * columns[:, 1:]).mean())
    points = points / (np.abs(points).max() or 1)
    low, high = np.percentile(points, (2, 98), axis=0)
    side = float((high - low).max()) * np.sqrt(_IN_A_CELL / len(points)) or 1.0
    cells = np.unique(np.clip((points - low) / side, -1, len(points)).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(cells)
    means = np.column_stack([np.bincount(cells, one) / count for one in columns.T])
    within = ((columns - means[cells]) ** 2).mean(axis=0)
    return likeness - float(np.abs(within[1:] - within[0]).mean())
