"""The report of one reconstruction: the scan beside its mesh, what was chosen and why, and how well the mesh fits.

N points, V vertices, F faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.geometry import Surface, face_areas
from lpdif.mesh_queries import closest_points
from lpdif.report.page import Message, Run, about_run, key_figures, number, page, safe, table, told, warning_box
from lpdif.report.pictures import Sides, draw_sides
from lpdif.report.svg import histogram
from lpdif.tools.laps import Lap
from lpdif.types import Mesh

MEASURED_POINTS = 200_000  # The distance to the mesh is measured for at most so many points.
NAMES = {
    "points": "points used",
    "open_loops": "open loops",
    "dropped_outliers": "outliers left out",
    "depth_step": "step of the depth camera",
    "ambiguous_share": "share of points whose side is doubtful",
}


class MeshedScan(NamedTuple):
    """What a report shows of a scan and its mesh.

    name, output   of the files
    points         (M, 3) of the scan as it was read, in world coordinates like all that follows
    used           (N, 3) the points that the mesh was made of, with the spacing (N,) and the noise (N,) around each
    facts          what was chosen and found
    messages       what the run told
    laps           what the parts of the run took
    up             the axis that points up in the pictures
    """

    name: str
    output: str
    points: FloatArray
    mesh: Mesh
    used: FloatArray
    spacing: FloatArray
    noise: FloatArray
    facts: Mapping[str, float | int | str]
    messages: Sequence[Message]
    laps: Sequence[Lap]
    up: str = "z"


def scan_report(run: Run, made: MeshedScan) -> bytes:
    """The page of one scan."""
    facts = made.facts
    figures = [
        ("points in the scan", number(len(made.points))),
        ("faces of the mesh", number(len(made.mesh.faces))),
        ("open loops, 0 is closed", number(facts["open_loops"])),
        ("noise, in spacings", number(float(facts["noise"]) / float(facts["spacing"]))),
        ("time", f"{run.seconds:.1f} s"),
    ]
    body = key_figures(figures) + warning_box(message.text for message in made.messages if message.warning)
    body += "<h2>The scan and its mesh, from four sides</h2>" + _sides(draw_sides(made.points, made.mesh.vertices, made.mesh.faces, made.up))
    body += f'<p class="pale">The outside of the mesh is grey, its inside orange: orange is seen through holes. Mesh: {safe(made.output)}</p>'
    body += '<h2>What was chosen, and why</h2><div class="beside"><div>'
    body += table(("", "lengths in the unit of the scan"), [(safe(name), safe(value)) for name, value in fact_rows(made)], right=[1])
    body += f"</div><div>{told(made.messages)}</div></div>"
    body += f'<h2>Points and fit</h2><div class="figures">{"".join(_histograms(made))}</div>'
    body += f"<h2>Time and memory</h2>{lap_table(made.laps)}" + about_run(run)
    return page(f"{made.name}: scan to mesh", run, body)


def fact_rows(made: MeshedScan) -> list[tuple[str, str]]:
    """Names and values of what was chosen and found."""
    rows = [(NAMES.get(name, name.replace("_", " ")), number(value)) for name, value in made.facts.items()]
    size = np.ptp(made.mesh.vertices, axis=0)
    rows.append(("size of the mesh", " × ".join(number(float(side)) for side in size)))
    rows.append(("area of the mesh", number(float(face_areas(Surface(made.mesh.vertices, made.mesh.faces)).sum()))))
    return rows


def distances_to_mesh(points: FloatArray, mesh: Mesh) -> FloatArray:
    """Distances of points (N, 3), or of an even share of them, to a mesh."""
    middle = 0.5 * (mesh.vertices.min(0) + mesh.vertices.max(0))
    some = points[:: -(-len(points) // MEASURED_POINTS)]
    return closest_points(some - middle, mesh.vertices - middle, mesh.faces)[0]


def _histograms(made: MeshedScan) -> list[str]:
    away = distances_to_mesh(made.used, made.mesh)
    share = f"mean {number(float(away.mean()))}, {number(float(away.mean()) / float(made.facts['spacing']))} spacings"
    found = [
        histogram(made.spacing, "Spacing of the points", "square root of the area that a point stands for"),
        histogram(made.noise, "Noise of the points", "standard deviation about the surface"),
        histogram(away, "Distance of the points to the mesh", share, low=0.0),
    ]
    if "confidence" in made.mesh.vertex_values:
        confidence = np.asarray(made.mesh.vertex_values["confidence"], np.float64)
        found.append(histogram(confidence, "Confidence of the vertices", "1 amid dense points that lie on the surface", 0.0, 1.0))
    return found


def _sides(sides: Sides) -> str:
    def row(name: str, addresses: Sequence[str]) -> str:
        pictures = "".join(f'<img src="{address}" alt="{name}, side {side}">' for side, address in enumerate(addresses, 1))
        return f"<span>{name}</span>{pictures}"

    return f'<div class="sides">{row("scan", sides.points)}{row("mesh", sides.mesh)}</div>'


def lap_table(laps: Sequence[Lap]) -> str:
    """What each part of a run took, with a bar for its time."""
    longest = max((lap.seconds for lap in laps), default=0.0) or 1.0
    rows = [
        (
            safe(lap.name),
            f"{lap.seconds:.2f} s",
            f"{lap.cpu:.2f} s",
            "-" if lap.memory is None else f"{lap.memory / 1e6:,.0f} MB",
            f'<svg viewBox="0 0 200 10" style="width:200px;margin-top:6px"><rect width="{200 * lap.seconds / longest:.1f}" height="10" '
            'fill="#9db8d4"/></svg>',
        )
        for lap in laps
    ]
    return table(("part", "time", "CPU time", "most memory until then", ""), rows, right=[1, 2, 3])
