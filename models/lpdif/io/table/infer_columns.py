"""Names for the columns of a table that has none, from the ranges of their values."""

from __future__ import annotations

import numpy as np

from lpdif.arrays import FloatArray

_SAMPLE_ROWS = 20_000  # Columns are inferred from so many rows of a table, and from fewer than twice as many.
_FEWEST_ROWS = 8  # A column before the coordinates is looked for in no shorter table.
_LEAST_TIME = 1e8  # Times are so many seconds since 1970, or more of a smaller unit; no coordinate is so large.
_FARTHEST_COORDINATE = 1e7  # The largest coordinate on Earth, in metres.
_SMOOTH_STEP = 0.2  # Coordinates differ from row to row by a median of at most this share of their standard deviation.
_MOST_SCANS = 20  # At most so many scans are numbered in one file.
_CLEAR_MARGIN = 0.15  # One of two columns is a colour without doubt where its likeness to colours is larger by so much.
_WIDENED = (257, 256)  # Bytes become 16 bits when they are multiplied by one of these.
_CELL_POINTS = 8  # A cell of a grid with about so many points is small enough for them to have like colours.

Guess = tuple[list[str], str]  # names of columns, and what else the columns might be ("" where nothing speaks for that)


def guess_names(values: FloatArray, intensity_first: bool) -> list[str]:
    """The names of `guess`, without the doubt."""
    return guess(values, intensity_first)[0]


def guess(values: FloatArray, intensity_first: bool) -> Guess:
    """Names for the columns of a table (N, C >= 3) that has none, from the ranges of their values.

    Second comes what else the columns might be. The first three columns are coordinates, after those that `_leading_columns` finds. Then, from
    left to right: three columns of unit length are normals, three of 0..255 or 0..1 are colours, any other column is a value of its own. Of
    four columns of bytes at the end, three are colours. intensity_first: whether exactly four columns behind the coordinates begin with an
    intensity, as in PTS.
    """
    total, sample = values.shape[1], _sampled(values)
    names, doubt = _leading_columns(values)
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


def _leading_columns(values: FloatArray) -> Guess:
    """Names of the columns that stand before x, y and z in a table (N, C >= 3).

    A name is "time", that of a colour, or "" for what is no value of a point. They are told by whole numbers, or times, before three columns
    with decimals. Slices of constant x, or the cells of a grid of heights, look like the number of a scan, or like the row and column of a
    scanner's raster: so these are taken for numbers only where more speaks for it.
    """
    if values.shape[1] < 4 or len(values) < _FEWEST_ROWS:
        return [], ""
    first = values[:, 0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.diff(first)
    if first[0] in (0, 1) and (step == 1).all():  # the number of the row
        return [""], ""
    head = _sampled(values[:, :6])
    if len(head) < _FEWEST_ROWS:
        return [], ""
    whole, decimal = (head == np.rint(head)).all(axis=0), (head != np.rint(head)).mean(axis=0) > 0.5
    rising, strictly_rising = bool((step >= 0).all()), bool((step > 0).all())
    if head[:, 0].min() >= _LEAST_TIME and rising and np.abs(head[:, 1:4]).max() < _FARTHEST_COORDINATE:
        return ["time"], ""
    one_before, two_before, three_before = (whole[:count].all() and decimal[count : count + 3].sum() == 3 for count in (1, 2, 3))
    if one_before and strictly_rising:  # the number of the row, with gaps
        return [""], ""
    if _are_normals_or_fractions(head[:, 3:6]):
        return [], ""
    if one_before:
        return _scan_number(values, first, rising)
    if two_before:
        return _raster_cell(values, head)
    if three_before and _are_bytes(head[:, :3]):
        return _leading_colors(head[:, :3])
    if strictly_rising and not whole[0] and decimal[1:4].sum() == 3:
        return [], "the first may be a time"
    return [], "the first may be the number of the row" if whole[0] and strictly_rising else ""


def _scan_number(values: FloatArray, first: FloatArray, rising: bool) -> Guess:
    """The name of the first column (N,), which is whole numbers.

    They number scans where they rise from 0 or 1 and colours or normals end the table.
    """
    if rising and _numbers_scans(first) and _triple_at(values, 4):
        return [""], ""
    return [], "x y z may be its columns 2 to 4"


def _raster_cell(values: FloatArray, head: FloatArray) -> Guess:
    """The names of two columns of whole numbers, which may be row and column of a scanner's raster.

    They are that where they go through it cell by cell from 0 or 1, and colours or normals end the table or the coordinates go on smoothly
    from cell to cell.
    """
    in_order = _in_order(head[:, 0], head[:, 1]) or _in_order(head[:, 1], head[:, 0])
    if in_order and set(head[:, :2].min(axis=0)) <= {0, 1} and (_triple_at(values, 5) or _go_on(head[:, 2:5])):
        return ["", ""], ""
    return [], "x y z may be its columns 3 to 5"


def _leading_colors(triple: FloatArray) -> Guess:
    """The names of three columns of bytes (N, 3) before others.

    They are colours, unless they are the voxels of a grid with values.
    """
    if _in_order(*triple.T) or _in_order(*triple[:, ::-1].T) or _fill_cells(triple):
        return [], ""
    return (["red", "green", "blue"], "") if triple.max() > 127 else ([], "x y z may be its columns 4 to 6")


def _numbers_scans(column: FloatArray) -> bool:
    """Whether rising whole numbers are all the same, or count a few scans from 0 or 1 on."""
    numbers = np.unique(column)
    return len(numbers) == 1 or bool(len(numbers) <= _MOST_SCANS and numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())


def _triple_at(values: FloatArray, column: int) -> bool:
    """Whether normals, or colours that are bytes, begin at this column of a table (N, C).

    Or at the next one, behind an intensity.
    """
    rest = _sampled(values[:, column : column + 4])
    triples = [rest[:, start : start + 3] for start in (0, 1) if rest.shape[1] >= start + 3]
    return any(_are_normals(triple) or (_are_bytes(triple) and _are_colors(triple) and float(triple.max()) > 1) for triple in triples)


def _go_on(triple: FloatArray) -> bool:
    """Whether the median step of three columns (N, 3) from row to row is small beside their spread."""
    spread = triple.std(axis=0)
    return bool((np.median(np.abs(np.diff(triple, axis=0)), axis=0) < _SMOOTH_STEP * spread).all())


def _fill_cells(cells: FloatArray) -> bool:
    """Whether whole numbers (N, 3) are cells of a grid: each occurs once and most have a neighbour.

    Colours repeat, or lie far apart.
    """
    from scipy.spatial import cKDTree

    if len(np.unique(cells, axis=0)) < len(cells):
        return False
    return bool(np.median(cKDTree(cells).query(cells, k=2)[0][:, 1]) < 2)


def _in_order(*columns: FloatArray) -> bool:
    """Whether rows are in lexicographic order of these columns, and no two are equal.

    Then they go through a raster cell by cell.
    """
    after = np.zeros(len(columns[0]) - 1, dtype=bool)
    for column in reversed(columns):
        step = np.diff(column)
        after = (step > 0) | ((step == 0) & after)
    return bool(after.all())


def _sampled(values: FloatArray) -> FloatArray:
    """Up to 2 * _SAMPLE_ROWS rows of a table (N, C), evenly spread and in their order.

    Rows that hold NaN or infinity are left out.
    """
    sample = values[:: max(1, len(values) // _SAMPLE_ROWS)].astype(np.float64)
    return sample[np.isfinite(sample).all(axis=1)]


def _are_normals(triple: FloatArray) -> bool:
    """Whether nine in ten rows of three columns (N, 3), apart from rows of zeros, have unit length."""
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
    """Whether three columns (N, 3) are colours by their range.

    It is 0 to 1, or 0 to 255 for whole numbers, or 0 to 65535 where all are bytes that were made 16 bits wide.
    """
    low, high = triple.min(), triple.max()
    if not (low >= 0 and 0 < high <= 65535):
        return False
    whole = bool((triple == np.rint(triple)).all())
    return bool(high <= 1) or (whole and (bool(high <= 255) or any((triple % step == 0).all() for step in _WIDENED)))


def _are_bytes(values: FloatArray) -> bool:
    """Whether all values are whole numbers from 0 to 255."""
    return bool((values == np.rint(values)).all()) and bool(values.min() >= 0) and bool(values.max() <= 255)


def _colors_of_four(points: FloatArray, four: FloatArray) -> Guess:
    """Names of four columns of bytes (N, 4), three of which are colours.

    An opacity may be behind them, or an intensity before or behind them. The column that is no colour has few values, or is less like the two
    columns in the middle, which are colours either way.
    """
    colors = ["red", "green", "blue"]
    if (four[:, 3] == 255).all():
        return [*colors, "alpha"], ""
    number = [len(np.unique(column)) for column in four.T]
    if 2 * number[3] < min(number[:3]):
        return [*colors, "intensity"], ""
    first, last = (_likeness(points, four[:, column], four[:, 1:3]) for column in (0, 3))
    margin = max(_CLEAR_MARGIN, 2 / np.sqrt(len(four)))  # by chance few rows are like others
    if 2 * number[0] < min(number[1:]) or last > first + margin:
        return ["intensity", *colors], ""
    if first > last + margin:
        return [*colors, "intensity"], ""
    return ["intensity", *colors], "the last four may be red green blue intensity"


def _likeness(points: FloatArray, column: FloatArray, colors: FloatArray) -> float:
    """How much a column (N,) is like colours (N, K) of points (N, 3).

    It is measured by correlation, and by how much the column varies among near points.
    """
    columns = np.column_stack([column, colors])
    columns = columns - columns.mean(axis=0)
    spread = columns.std(axis=0)
    columns /= np.where(spread > 0, spread, 1)
    correlation = float((columns[:, :1] * columns[:, 1:]).mean())
    points = points / (np.abs(points).max() or 1)
    low, high = np.percentile(points, (2, 98), axis=0)
    side = float((high - low).max()) * np.sqrt(_CELL_POINTS / len(points)) or 1.0
    cells = np.unique(np.clip((points - low) / side, -1, len(points)).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(cells)
    means = np.column_stack([np.bincount(cells, one) / count for one in columns.T])
    within = ((columns - means[cells]) ** 2).mean(axis=0)
    return correlation - float(np.abs(within[1:] - within[0]).mean())
