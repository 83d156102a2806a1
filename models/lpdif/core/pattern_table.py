"""The table of patterns: how many regions each has, how well they are met, and what they are like."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lpdif.core.jets import JET
from lpdif.core.kde import mean_density, median_distance
from lpdif.core.patterns import Patterns
from lpdif.form_names import FORMS


@dataclass(frozen=True)
class PatternRow:
    """One row of the table of patterns.

    pattern   the number of its decoder
    name      what it is called (`lpdif.form_names.pattern_names`)
    form      how the surface goes on in its regions (`lpdif.form_names.FORMS`)
    share     of the regions
    error     near the surface, on held-out regions, in region sizes
    flatness  1 / (1 + curvature times region size): 1 is a plane
    density   of its codes in the whitened space, 1 where all are alike (see `lpdif.core.kde.mean_density`)

    All densities are taken with one bandwidth, so that they can be compared. It is the mean, over the patterns, of the median distance
    between two codes of a pattern.
    """

    pattern: int
    name: str
    form: str
    share: float
    error: float
    flatness: float
    density: float


def pattern_table(patterns: Patterns, codes: Tensor, owner: Tensor, errors: Tensor, held: Tensor) -> list[PatternRow]:
    """A row for each pattern, the largest in share first; each bears the number of its decoder.

    codes (R, C) and owner (R,), their patterns, of the regions trained on; held (H,), the patterns, and errors (H,) of those held out, in
    region sizes, NaN where there is none.
    """
    white = patterns.whitening.apply(codes)
    curvature = codes[:, 3:6].norm(dim=1) * 2 / JET.radius**2  # second derivatives of the jet
    count = len(patterns.centroids)
    widths = [median_distance(white[owner == k]) for k in range(count) if bool((owner == k).any())]
    bandwidth = sum(widths) / len(widths)
    rows = []
    for k in range(count):
        mine = owner == k
        known = errors[(held == k) & errors.isfinite()]
        rows.append(
            PatternRow(
                pattern=k,
                name=patterns.names[k],
                form=FORMS[int(patterns.form[k])],
                share=float(mine.float().mean()),
                error=float(known.mean()) if len(known) else float("nan"),
                flatness=float((1 / (1 + curvature[mine])).mean()) if bool(mine.any()) else float("nan"),
                density=mean_density(white[mine], bandwidth),
            )
        )
    return sorted(rows, key=lambda row: -row.share)
