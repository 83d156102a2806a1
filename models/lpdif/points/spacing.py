"""Spacing: square root of the area that a point stands for, in a scan and around each point."""

from __future__ import annotations

import numpy as np

from lpdif.arrays import FloatArray

NEGLIGIBLE = 0.25  # What is off by less than this share of the spacing does not show in a surface through the points.
EXACT = 0.05  # And by less than this share, points count as exact: it is no noise, and no thickness of a wall.


def local_spacing(reach: FloatArray, k: int, noise: float = 0.0) -> FloatArray:
    """(N,) square root of the area per point around each, from the distance (N,) of its k-th.

    For points spread at random over a plane, one in each h x h on average, pi reach^2 has the mean k h^2. Noise lifts
    points out of the surface and so out of the ball of radius r = reach: with the height d between two points normal of
    variance s^2 = 2 noise^2, the ball holds the points of a disc of squared radius
    E[max(r^2 - d^2, 0)] = (r^2 - s^2) erf(r / (s sqrt 2)) + r s sqrt(2 / pi) exp(-r^2 / (2 s^2)).
    """
    from scipy.special import erf

    squared = reach**2
    if noise > 0:
        s = np.sqrt(2) * noise
        ratio = reach / s
        squared = (squared - s**2) * erf(ratio / np.sqrt(2)) + reach * s * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2)
    spacing: FloatArray = np.sqrt(np.pi * squared / k)
    return spacing


def typical_spacing(local: FloatArray, k: int) -> float:
    """The spacing of a scan: the median of its local spacings, freed of the skew of their distribution.

    Squared local spacings follow a Gamma distribution of shape k, whose median is (k - 1/3) / k of its mean.
    """
    return float(np.median(local) * np.sqrt(k / (k - 1 / 3)))
