"""COLMAP's points3D.txt: a row for each point.

At its end is the track of the point, a list of the images that show it.
"""

from __future__ import annotations

import re

import numpy as np

from lpdif.io.source import DOWNLOAD_AGAIN, EXPORT_AGAIN, Text, with_comments
from lpdif.io.table.columns import scan_of_columns
from lpdif.io.table.numbers import read_rows
from lpdif.text import counted
from lpdif.types import Scan

POINTS_HEADER = re.compile(rb"(?m)^#\s*POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK\[\]")
OTHER_HEADERS = re.compile(rb"(?m)^#\s*(?:IMAGE_ID, QW, QX|CAMERA_ID, MODEL)")  # of images.txt and cameras.txt, which are in the same folder
_POINT_COUNT = re.compile(rb"(?m)^#\s*Number of points: (\d{1,18})\b")
_COLUMN_NAMES = ["", "x", "y", "z", "red", "green", "blue", "error"]


def read_points3d(text: Text) -> Scan:
    """Reads points with their colours and their reprojection errors (pixels). Tracks are left out.

    Raises InputError naming the line of a row that is no point, and where there are fewer points than the header says.
    """
    rows = read_rows(with_comments(text, b"#"))
    wrong = np.flatnonzero((rows.counts < len(_COLUMN_NAMES)) | (rows.counts % 2 == 1))
    if len(wrong):
        first = int(wrong[0])
        what = f"{counted(int(rows.counts[first]), 'number')}, where 8 make a point and pairs of numbers its track"
        raise text.error(int(rows.lines[first]), what, DOWNLOAD_AGAIN if first == len(rows.counts) - 1 else EXPORT_AGAIN)
    if not len(rows.counts):
        raise text.source.empty()
    number = _POINT_COUNT.search(text.data)
    if number is not None and int(number[1]) > len(rows.counts):
        raise text.source.cut(len(rows.counts), int(number[1]), "point")
    columns = [rows.values[rows.starts + column] for column in range(1, len(_COLUMN_NAMES))]
    return scan_of_columns(text.source, _COLUMN_NAMES[1:], columns)
