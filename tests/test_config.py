"""Settings given from Python: each wrong type and value is one clear error."""

from __future__ import annotations

import numpy as np
import pytest

from lpdif.config import OutputConfig, ReconstructConfig
from lpdif.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"resolution": "fine"}, "resolution = 'fine'", "give a number above 0, or None"),
        ({"resolution": 0}, "resolution = 0", "give a number above 0, or None"),
        ({"region_size": -1.0}, "region_size = -1.0", "give a number above 0, or None"),
        ({"max_distance": float("nan")}, "max_distance = nan", "give a number above 0, or None"),
        ({"max_distance": float("inf")}, "max_distance = inf", "give a number above 0, or None"),
        ({"watertight": "no"}, "watertight = 'no'", "give True or False"),
        ({"watertight": 1}, "watertight = 1", "give True or False"),
        ({"faces": 2.5}, "faces = 2.5", "give a whole number from 4 on, or None"),
        ({"faces": 3}, "faces = 3", "give a whole number from 4 on, or None"),
        ({"faces": True}, "faces = True", "give a whole number from 4 on, or None"),
        ({"refine": None}, "refine = None", "give a whole number from 0 on"),
        ({"seed": -1}, "seed = -1", "give a whole number from 0 on"),
        ({"sensor": (0, 0)}, "sensor = (0, 0)", "give three finite numbers, or None"),
        ({"sensor": "abc"}, "sensor = 'abc'", "give three finite numbers, or None"),
        ({"sensor": (0, 0, float("inf"))}, "sensor = (0, 0, inf)", "give three finite numbers, or None"),
        ({"texture": 9000}, "texture = 9000", "give a whole number from 64 to 8192, or None"),
        ({"keep": "biggest"}, "keep = 'biggest'", "give 'all' or 'largest'"),
        ({"keep": ["all"]}, "keep = ['all']", "give 'all' or 'largest'"),
    ],
)
def test_what_is_not_allowed_is_named(settings: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        ReconstructConfig(**settings)  # type: ignore[arg-type]
    assert caught.value.message == f"ReconstructConfig: {message} is not allowed"
    assert caught.value.hint == hint


def test_output_settings_too() -> None:
    with pytest.raises(UsageError, match="OutputConfig: scale = 0 is not allowed"):
        OutputConfig(scale=0)
    with pytest.raises(UsageError, match="OutputConfig: units = 'ft' is not allowed"):
        OutputConfig(units="ft")


def test_numbers_of_other_libraries_become_plain_ones() -> None:
    import torch

    made = ReconstructConfig(
        resolution=np.float32(0.5),  # type: ignore[arg-type]
        faces=np.int64(100),  # type: ignore[arg-type]
        watertight=np.bool_(True),  # type: ignore[arg-type]
        max_distance=torch.tensor(2.0),  # type: ignore[arg-type]
        sensor=np.array([1, 2, 3]),  # type: ignore[arg-type]
        seed=np.uint8(7),  # type: ignore[arg-type]
    )
    assert made == ReconstructConfig(resolution=0.5, faces=100, watertight=True, max_distance=2.0, sensor=(1.0, 2.0, 3.0), seed=7)
    assert [type(value) for value in (made.resolution, made.faces, made.watertight, made.max_distance, made.seed)] == [
        float, int, bool, float, int,
    ]  # fmt: skip
