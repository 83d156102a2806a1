"""Refinement of codes: nearer to the region's own points, repeatable, deaf to what is masked, and nothing but the codes moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from shapes import even_sphere_points, plain_patterns, random_decoder, wavy_regions
from torch import Tensor

from lpdif.core.encode import encode_regions
from lpdif.core.forms import Gate
from lpdif.core.frames import canonical_frames
from lpdif.core.jets import COEFFICIENTS, POWERS
from lpdif.core.model import Networks, make_networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.refine import REFINE, refine_codes
from lpdif.core.regions import gather_points

pytestmark = pytest.mark.usefixtures("one_thread")

CODE = 14  # of small decoders


def plain_decoder(patterns: int = 1) -> MultiDecoder:
    """Decoders that say what the code's jet says: a fresh one's last layer is zero."""
    torch.manual_seed(0)
    return MultiDecoder(patterns, CODE, 8).requires_grad_(False)


def caps(bends: list[float], points: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Regions with the height z = bend (x^2 + y^2), in their frames: points, unit normals (R, P, 3) and a full mask (R, P)."""
    xy = torch.rand((len(bends), points, 2), generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    bend = torch.tensor(bends)[:, None]
    x, y = xy.unbind(-1)
    normals = torch.stack([-2 * bend * x, -2 * bend * y, torch.ones_like(x)], -1)
    place = torch.stack([x, y, bend * (x * x + y * y)], -1)
    return place, normals / normals.norm(dim=-1, keepdim=True), torch.ones((len(bends), points), dtype=torch.bool)


def in_frames(regions: int = 5, points: int = 80) -> tuple[Tensor, Tensor, Tensor]:
    """Regions of random smooth heights in their canonical frames, the last points of every second region masked."""
    place, normals = (part.float() for part in wavy_regions(regions, points))
    mask = torch.ones((regions, points), dtype=torch.bool)
    mask[::2, points * 3 // 4 :] = False
    frames = canonical_frames(place, normals, mask)
    return frames.inward(place), frames.turned(normals), mask


def distances(decoder: MultiDecoder, codes: Tensor, pattern: Tensor, points: Tensor) -> Tensor:
    """(R, P) what the regions' decoders say at their points (R, P, 3)."""
    owner = torch.arange(len(codes)).repeat_interleave(points.shape[1])
    with torch.no_grad():
        return decoder(codes, pattern, points.flatten(0, 1), owner).view(points.shape[:2])


def residual(decoder: MultiDecoder, codes: Tensor, pattern: Tensor, points: Tensor, mask: Tensor) -> Tensor:
    """(R,) mean distance to the surface at a region's points."""
    return (distances(decoder, codes, pattern, points).abs() * mask).sum(1) / mask.sum(1)


def whole(regions: int) -> Tensor:
    return torch.zeros(regions, dtype=torch.int64)


def test_a_flat_code_takes_the_bend_of_its_points() -> None:
    """From nothing to a tenth of the residual; a code that is right stays nearly so."""
    points, _, mask = caps([0.0, 0.1, 0.25, -0.25])
    decoder, codes = plain_decoder(), torch.zeros(4, CODE)
    refined = refine_codes(decoder, codes, whole(4), points, mask, 0.0, 100)
    before, after = (residual(decoder, c, whole(4), points, mask) for c in (codes, refined))
    assert float(before[0]) == 0
    assert float(after[0]) < 0.004
    assert (after[1:] < 0.1 * before[1:]).all()
    bend = refined[:, 3] / 1.5**2  # coefficient of x^2, whose coordinates are divided by the jets' radius
    assert torch.allclose(bend[1:], torch.tensor([0.1, 0.25, -0.25]), atol=0.03)


@pytest.mark.parametrize("patterns", [1, 3])
def test_the_residual_of_every_region_falls(patterns: int) -> None:
    """Decoders whose layers are all at work, but say less than their jets, as trained ones do."""
    points, _, mask = in_frames()
    decoder, pattern = random_decoder(patterns, CODE), torch.arange(5) % patterns
    decoder.out.weight.mul_(0.1)
    codes = 0.3 * torch.randn((5, CODE), generator=torch.Generator().manual_seed(2))
    refined = [refine_codes(decoder, codes, pattern, points, mask, 0.0, steps) for steps in (1, 4)]
    before, one, four = (residual(decoder, c, pattern, points, mask) for c in (codes, *refined))
    assert (one < 0.9 * before).all()
    assert (four < one).all()


def test_more_steps_come_nearer() -> None:
    points, _, mask = caps([0.3, -0.2])
    decoder, flat = plain_decoder(), torch.zeros(2, CODE)
    refined = [refine_codes(decoder, flat, whole(2), points, mask, 0.0, steps) for steps in (0, 5, 20, 60)]
    found = [float(residual(decoder, codes, whole(2), points, mask).sum()) for codes in refined]
    assert found == sorted(found, reverse=True)
    assert found[3] < 0.5 * found[0]


def test_the_encoder_s_codes_come_nearer_to_a_ball() -> None:
    """Regions of a ball as `reconstruct` gathers and encodes them, with decoders that know nothing of balls."""
    encoder = make_networks(6, 8, 0).encoder
    networks = Networks(encoder, random_decoder(2, encoder.code_size), Gate()).eval().requires_grad_(False)
    patterns = plain_patterns(torch.tensor([[-0.1], [0.1]]), encoder.code_size)
    points, normals = even_sphere_points(800)
    centers, size = points[::160] * 1.01, 0.4
    seen = gather_points(cKDTree(points), points, normals, centers, size, 1.5, 96)
    plain, refined = (encode_regions(seen, centers, size, networks, patterns, steps) for steps in (0, 20))
    assert torch.equal(plain.pattern, refined.pattern)
    assert torch.equal(plain.axes, refined.axes)
    local = torch.from_numpy(np.asarray(seen.points, dtype=np.float32))
    inside = torch.einsum("rij,rpj->rpi", plain.axes, local - plain.origin[:, None])
    near = torch.from_numpy(seen.mask) & (inside.norm(dim=2) < 0.8)
    before, after = (residual(networks.decoder, c.code, plain.pattern, inside, near) for c in (plain, refined))
    assert (after < 0.5 * before).all()


def test_no_steps_change_nothing() -> None:
    points, _, mask = in_frames()
    codes = torch.randn((5, CODE), generator=torch.Generator().manual_seed(2))
    kept = codes.clone()
    refined = refine_codes(random_decoder(2), codes, torch.arange(5) % 2, points, mask, 0.0, 0)
    assert torch.equal(refined, kept)
    assert not refined.requires_grad


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.5])
def test_the_noisier_the_points_the_less_codes_move(noise: float) -> None:
    points, _, mask = in_frames()
    codes, decoder = 0.3 * torch.ones(5, CODE), random_decoder(2)
    moved = [(refine_codes(decoder, codes, torch.arange(5) % 2, points, mask, sigma, 1) - codes).norm(dim=1) for sigma in (0.5 * noise, noise)]
    assert (moved[1] < moved[0]).all()
    assert (moved[1] > 0).all()


def test_one_step_is_the_least_squares_solution_where_the_decoder_is_its_jet() -> None:
    """The same weighted, damped fit region by region, by numpy."""
    points, _, mask = caps([0.02, -0.01])
    found = refine_codes(plain_decoder(), torch.zeros(2, CODE), whole(2), points, mask, 0.004, 1)
    for r in range(2):
        x, y, z = points[r].double().numpy().T
        rows = np.stack([(x / 1.5) ** i * (y / 1.5) ** j for i, j in POWERS], 1)
        weight = np.exp(-0.5 * (x * x + y * y + z * z) / REFINE.width**2)
        weight = weight / weight.sum() / np.maximum(1, np.abs(z) / REFINE.knee)
        wanted = np.linalg.solve((rows.T * weight) @ rows + (0.004 / REFINE.trust) ** 2 * np.eye(10), (rows.T * weight) @ z)
        np.testing.assert_allclose(found[r, :COEFFICIENTS].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("junk", [0.0, 0.5, -30.0])
def test_masked_points_have_no_influence(junk: float) -> None:
    points, _, mask = in_frames()
    codes, pattern, decoder = 0.3 * torch.ones(5, CODE), torch.arange(5) % 2, random_decoder(2)
    expected = refine_codes(decoder, codes, pattern, points, mask, 0.0, 8)
    points = torch.where(mask[..., None], points, torch.tensor(junk))
    assert torch.equal(refine_codes(decoder, codes, pattern, points, mask, 0.0, 8), expected)
    mask = mask.clone()
    mask[1, 0] = False  # and one that was not masked had some
    again = refine_codes(decoder, codes, pattern, points, mask, 0.0, 8)
    assert not torch.equal(again[1], expected[1])
    assert torch.equal(again[[0, 2, 3, 4]], expected[[0, 2, 3, 4]])


def test_a_region_without_points_keeps_its_code() -> None:
    points, _, mask = in_frames()
    mask[3] = False
    codes = torch.randn((5, CODE), generator=torch.Generator().manual_seed(2))
    refined = refine_codes(random_decoder(2), codes, torch.arange(5) % 2, points, mask, 0.0, 20)
    assert torch.equal(refined[3], codes[3])
    assert refined.isfinite().all()
    assert not torch.equal(refined[2], codes[2])


def test_regions_do_not_hear_each_other() -> None:
    points, _, mask = in_frames()
    codes, pattern, decoder = 0.3 * torch.ones(5, CODE), torch.arange(5) % 2, random_decoder(2)
    expected = refine_codes(decoder, codes, pattern, points, mask, 0.0, 8)
    moved = points.clone()
    moved[4] += torch.tensor([0.0, 0.0, 0.2])
    found = refine_codes(decoder, codes, pattern, moved, mask, 0.0, 8)
    assert torch.equal(found[:4], expected[:4])
    assert not torch.equal(found[4], expected[4])


def test_only_the_codes_move() -> None:
    """Decoders that may learn stay as they are, without gradients, also where gradients are switched off."""
    points, _, mask = in_frames()
    decoder = random_decoder(2).requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    codes = 0.3 * torch.ones(5, CODE)
    kept = [part.clone() for part in (codes, points, mask)]
    with torch.no_grad():
        refined = refine_codes(decoder, codes, torch.arange(5) % 2, points, mask, 0.0, 5)
    assert not torch.equal(refined, codes)
    assert all(parameter.grad is None for parameter in decoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip((codes, points, mask), kept, strict=True))


def test_stray_points_do_not_lead() -> None:
    """A tenth of the points far off the surface: what counts linearly moves the others' residual little."""
    points, _, mask = caps([0.25, -0.25])
    stray = points.clone()
    stray[:, ::10, 2] += 10 * REFINE.knee
    decoder = plain_decoder()
    good = mask.clone()
    good[:, ::10] = False
    refined = refine_codes(decoder, torch.zeros(2, CODE), whole(2), stray, mask, 0.0, 100)
    before, after = (residual(decoder, c, whole(2), points, good) for c in (torch.zeros(2, CODE), refined))
    assert (after < 0.3 * before).all()
    assert (after < REFINE.knee).all()
