"""Forms: the ways in which sheets of surface meet in a region, and which of them a region has.

The solid of a region is what its sheets' half-spaces A, B, C have in common or share out; of their signed distances a, b, c (negative inside)

    smooth               a                 one sheet
    convex edge          max(a, b)         A and B; two sheets that face apart are a thin wall
    concave edge         min(a, b)         A or B; two sheets that face each other are a gap
    convex corner        max(a, b, c)      A and B and C
    concave corner       min(a, b, c)      A or B or C
    convex saddle        max(a, min(b, c)) A and (B or C)
    concave saddle       min(a, max(b, c)) A or (B and C)

The form is chosen by the gate, a small network, from what points and normals alone say: how well the quadrics of the sheets (`sheets`), put
together in each form, explain the points of the region and the free space around them. Sheets of a saddle differ in their part, so a saddle
comes in three arrangements; there are eleven in all.

Letters: R regions, P points of a region, X places of a region, V = 11 arrangements. Everything in the frame of the region, in region sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpdif.core.regions import Seen
from lpdif.core.sheets import SHEETS, Quadrics, fit_quadrics, regions_last, share_out


class Arrangement(NamedTuple):
    """A form with its sheets: columns of (the whole region, two sheets, three sheets) that stand for a, b and c.

    The value is outer(a, inner(b, c)), with 1 for the maximum, -1 for the minimum; a sheet that is named twice counts once.
    """

    form: int
    sheets: tuple[int, ...]
    outer: int
    inner: int


ARRANGEMENTS = (
    Arrangement(0, (0,), 1, 1),
    Arrangement(1, (1, 2), 1, 1),
    Arrangement(2, (1, 2), -1, -1),
    Arrangement(3, (3, 4, 5), 1, 1),
    Arrangement(4, (3, 4, 5), -1, -1),
    *(Arrangement(5, sheets, 1, -1) for sheets in ((3, 4, 5), (4, 3, 5), (5, 3, 4))),
    *(Arrangement(6, sheets, -1, 1) for sheets in ((3, 4, 5), (4, 3, 5), (5, 3, 4))),
)
MOST_SHEETS = 3
COUNT_V = torch.tensor([len(each.sheets) for each in ARRANGEMENTS])
FORM_V = torch.tensor([each.form for each in ARRANGEMENTS])
COLUMN_V3 = torch.tensor([(each.sheets + each.sheets[-1:] * 2)[:MOST_SHEETS] for each in ARRANGEMENTS])
OUTER_V = torch.tensor([float(each.outer) for each in ARRANGEMENTS])
INNER_V = torch.tensor([float(each.inner) for each in ARRANGEMENTS])


def smooth_maximum(a: Tensor, b: Tensor, radius: Tensor) -> Tensor:
    """The maximum of two distances, rounded where they differ by less than `radius` (the quadratic polynomial of Quilez)."""
    overlap = (radius - (a - b).abs()).clamp_min(0)
    return torch.maximum(a, b) + overlap.square() / (4 * radius).clamp_min(1e-12)


def combine(sheets_X3: Tensor, arrangement_X: Tensor, radius_X: Tensor) -> Tensor:
    """(X,) the distance that the arrangement (X,) makes of the distances to its sheets a, b, c (X, 3).

    Edges are rounded by `radius` (X,), positive. Columns beyond the number of sheets are not used.
    """
    on = sheets_X3.device
    outer_X, inner_X, count_X = (table.to(on)[arrangement_X] for table in (OUTER_V, INNER_V, COUNT_V))
    a, b, c = sheets_X3.unbind(1)
    inner = torch.where(count_X == MOST_SHEETS, inner_X * smooth_maximum(inner_X * b, inner_X * c, radius_X), b)
    return torch.where(count_X > 1, outer_X * smooth_maximum(outer_X * a, outer_X * inner, radius_X), a)


def combine_all(columns_6XR: Tensor) -> Tensor:
    """(V, X, R) sharp distances of every arrangement, from those to the whole and to the five sheets (6, X, R)."""
    extreme = {1: torch.maximum, -1: torch.minimum}
    found = []
    for each in ARRANGEMENTS:
        value, *rest = (columns_6XR[number] for number in each.sheets)
        if rest:
            value = extreme[each.outer](value, rest[0] if len(rest) == 1 else extreme[each.inner](*rest))
        found.append(value)
    return torch.stack(found)


class Sheets(NamedTuple):
    """T sheets of R regions, those of a region one behind the other: owner (T,) their region, first (R,) the first of each region."""

    owner: Tensor
    first: Tensor
    column: Tensor  # (T,) among the columns (whole region, two sheets, three sheets)


def sheets_of(arrangement_R: Tensor) -> Sheets:
    """The sheets of regions with these arrangements (R,)."""
    on = arrangement_R.device
    count_R = COUNT_V.to(on)[arrangement_R]
    owner_T = torch.arange(len(arrangement_R), device=on).repeat_interleave(count_R)
    first_R = count_R.cumsum(0) - count_R
    place_T = torch.arange(len(owner_T), device=on) - first_R[owner_T]
    return Sheets(owner_T, first_R, COLUMN_V3.to(on)[arrangement_R[owner_T], place_T])


def rows_of(first_R: Tensor, arrangement_R: Tensor) -> Tensor:
    """(R, 3) rows of the sheets a, b, c of each region, the last one again where there are fewer."""
    place = torch.arange(MOST_SHEETS, device=first_R.device)
    last_R1 = COUNT_V.to(first_R.device)[arrangement_R][:, None] - 1
    return first_R[:, None] + torch.minimum(place, last_R1)


class GateSettings(NamedTuple):
    """What the gate looks at, and where it starts from. Lengths are in region sizes."""

    smooth: float = 0.92  # A region whose normals have a longer mean is smooth for sure.
    fewest: int = 6  # A region with fewer points is smooth too.
    points: int = 48  # The nearest points of a region, at most, at which forms are tried.
    probe: float = 0.06  # Forms are tried this far off the points too, where the distance is known.
    places: int = 32  # Places of the region at which forms must claim no surface where no point is.
    spread: float = 1.3  # Side of the cube that these places fill.
    margin: float = 0.1  # A surface may be claimed nearer than the nearest point by this much.
    most: float = 0.4  # No miss counts for more.
    price: tuple[float, ...] = (0.0, 0.003, 0.003, *(0.005,) * 8)  # What each arrangement must gain, to begin with.
    sharpness: float = 5.7  # Log of what a miss counts, to begin with.
    radius: float = -5.0  # The radius of edges begins as softplus of this.


GATE = GateSettings()
PLACES: Tensor = (torch.quasirandom.SobolEngine(3, scramble=True, seed=1).draw(GATE.places) - 0.5) * GATE.spread  # type: ignore[no-untyped-call]
RESIDUALS, GEOMETRY = 5 * (len(ARRANGEMENTS) + 1), 44


class Evidence(NamedTuple):
    """What the points say of R regions.

    sees      (R, P, 5) which points each sheet sees
    miss      (R, V) how badly each arrangement explains points and free space
    features  (R, F) all that the gate looks at
    """

    sees: Tensor
    miss: Tensor
    features: Tensor


@torch.no_grad()
def evidence(seen: Seen) -> Evidence:
    """What the points say of the forms of regions, seen in the frames of the regions."""
    points_3PR, normals_3PR = (regions_last(part) for part in (seen.points, seen.normals))
    inner = Seen(points_3PR.permute(2, 1, 0), normals_3PR.permute(2, 1, 0), seen.mask)  # the same, regions last in memory
    sees = share_out(*inner)
    quadrics = fit_quadrics(inner.points, inner.normals, torch.cat([sees.permute(2, 1, 0), regions_last(seen.mask)[None]]).permute(2, 1, 0))
    near = Seen(*(part[:, : GATE.points] for part in seen))
    near_3PR, probe_3PR = points_3PR[:, : GATE.points], GATE.probe * normals_3PR[:, : GATE.points]
    places = PLACES.to(seen.points.device)
    places_3XR = places.T[..., None].expand(-1, -1, len(seen.mask))
    asked_3XR = torch.cat([near_3PR, near_3PR + probe_3PR, near_3PR - probe_3PR, places_3XR], 1)
    distance_MXR = quadrics.distance(asked_3XR.permute(2, 1, 0)).permute(2, 1, 0)
    whole = distance_MXR[SHEETS:]
    values = torch.cat([combine_all(torch.cat([whole, distance_MXR[:SHEETS]])), whole])
    explained, free = values[:, : -GATE.places], values[:, -GATE.places :]
    residual = torch.cat([misses(explained, near_3PR, regions_last(near.mask)), free_misses(free, places, near)])
    residual = residual.permute(2, 0, 1).contiguous()  # (R, 5, V + 1)
    miss = (residual[:, 0] + 2 * residual[:, 1]) / 3 + 0.3 * (residual[:, 4] - residual[:, 4, :1])
    features = torch.cat([torch.log(residual.flatten(1).clamp_min(0) + 2e-3) * 0.7 + 2.5, geometry(seen, sees, quadrics)], 1)
    return Evidence(sees, miss[:, :-1], features)


def misses(values_VXR: Tensor, points_3PR: Tensor, mask_PR: Tensor) -> Tensor:
    """(3, V, R) mean miss on the points, off them, and nearer to the centre; values (V, 3P, R) on the points and off to both sides."""
    arrangements, points, regions = len(values_VXR), *mask_PR.shape
    wanted = values_VXR.new_tensor([0.0, GATE.probe, -GATE.probe])[:, None, None]
    miss = (values_VXR.view(arrangements, 3, points, regions) - wanted).abs_().clamp_(max=GATE.most)
    square_PR = points_3PR.square().sum(0)

    def mean(part_VPR: Tensor, locality: float) -> Tensor:
        weight_PR = mask_PR * torch.exp(-locality * square_PR)
        return (weight_PR * part_VPR).sum(1) / weight_PR.sum(0).clamp_min(1e-9)

    off = miss[:, 1] + miss[:, 2]
    return torch.stack([mean(miss[:, 0], 1.0), mean(off / 2, 1.0), mean((off + miss[:, 0]) / 3, 4.0)])


def free_misses(values_VXR: Tensor, places_X3: Tensor, near: Seen) -> Tensor:
    """(2, V, R) how much surface is claimed where no point is, and how far on another side than the nearest point says."""
    distance = torch.cdist(places_X3.expand(len(near.mask), -1, -1), near.points).masked_fill(~near.mask[:, None], 9.0)
    nearest, index = distance.min(2)
    index = index[..., None].expand(-1, -1, 3)
    height_RX = ((places_X3 - near.points.gather(1, index)) * near.normals.gather(1, index)).sum(2)
    nearest_XR, height_XR, size_VXR = regions_last(nearest.clamp(max=1.5)), regions_last(height_RX), values_VXR.abs()
    closer = (nearest_XR - GATE.margin - size_VXR).clamp_min_(0)
    other_side = (values_VXR * height_XR < 0) * torch.minimum(size_VXR, height_XR.abs()).clamp_(max=GATE.most)
    return torch.stack([closer.mean(1), other_side.mean(1)])


def geometry(seen: Seen, sees_RPM: Tensor, quadrics: Quadrics) -> Tensor:
    """(R, GEOMETRY) how many points there are, how they are shared out, and how the sheets lie to each other."""
    count = seen.mask.sum(1, keepdim=True).clamp_min(1).to(seen.points.dtype)
    normal = quadrics.axes[:, :, 2]
    pairs = ((0, 1), (2, 3), (2, 4), (3, 4))
    turn = torch.stack([(normal[:, a] * normal[:, b]).sum(1) for a, b in pairs], 1)
    both = [pair for a, b in pairs for pair in ((a, b), (b, a))]
    above = torch.stack([((quadrics.origin[:, b] - quadrics.origin[:, a]) * normal[:, a]).sum(1) for a, b in both], 1)
    bend = quadrics.coefficients[..., 3:].flatten(1).clamp(-2, 2)
    spread = seen.points.norm(dim=2).sum(1, keepdim=True) / count
    mean_normal = seen.normals.sum(1).norm(dim=1, keepdim=True) / count
    shares = sees_RPM.sum(1) / count
    return torch.cat([count.log() / 4, mean_normal, shares, spread, turn, above, bend, quadrics.origin.norm(dim=2)], 1)


def may_bend(seen: Seen) -> Tensor:
    """(R,) bool: which regions may be other than smooth, by the spread of their normals."""
    count = seen.mask.sum(1)
    bent: Tensor = seen.normals.sum(1).norm(dim=1) <= GATE.smooth * count
    return bent & (count >= GATE.fewest)


def first_logits(miss_RV: Tensor) -> Tensor:
    """(R, V) how well each arrangement explains the points of a region, less the price of its sheets; what the gate begins with."""
    return -(miss_RV + miss_RV.new_tensor(GATE.price))


class Gate(nn.Module):
    """From the features of a region to a logit of each arrangement, and the radius of its edges."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(RESIDUALS + GEOMETRY, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.choose = nn.Linear(width, len(ARRANGEMENTS))
        self.round = nn.Linear(width, 1)
        self.sharpness = nn.Parameter(torch.tensor(GATE.sharpness))
        for layer in (self.choose, self.round):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, found: Evidence) -> tuple[Tensor, Tensor]:
        """(R, V) logits and (R,) radius, positive, in region sizes."""
        inner = self.body(found.features)
        radius = nn.functional.softplus(self.round(inner)[:, 0] + GATE.radius)
        return self.choose(inner) + self.sharpness.exp() * first_logits(found.miss), radius
