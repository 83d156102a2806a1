"""Multi-decoder: K stacked decoders are K decoders in a loop, and a query's value is its own affair."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import torch
from shapes import random_decoder
from torch import Tensor

from lpdif.core.jets import COEFFICIENTS, jet_distance
from lpdif.core.multi_decoder import BLOCK_ROWS, CPU_ROWS, CPU_TOGETHER, SHEET_CORRECTION, SHEET_SHARE, MultiDecoder, arrange_blocks

CODE = 14


def some(patterns: int, regions: int, queries: int, code_size: int = CODE, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """codes (R, C), pattern (R,), points (Q, 3), region (Q,)."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn((regions, code_size), generator=generator),
        torch.randint(patterns, (regions,), generator=generator),
        2 * torch.rand((queries, 3), generator=generator) - 1,
        torch.randint(regions, (queries,), generator=generator),
    )


@pytest.mark.parametrize(("patterns", "smooth"), [(1, 1), (2, 2), (5, 5), (5, 2), (2, 1)])
@pytest.mark.parametrize("regions", [1, 4])
@pytest.mark.parametrize("queries", [0, 1, 7, 300])
def test_stacked_decoders_agree_with_the_plain_loop(patterns: int, smooth: int, regions: int, queries: int) -> None:
    decoder = random_decoder(patterns, CODE)
    decoder.smooth = smooth
    given = some(patterns, regions, queries)
    found = decoder(*given)
    assert found.shape == (queries,)
    np.testing.assert_allclose(found, naive.multi_decoder(decoder, *given), atol=2e-5)
    with torch.inference_mode():
        torch.testing.assert_close(decoder(*given), found, atol=2e-5, rtol=1e-5)  # other blocks and sums there


def test_a_pattern_with_many_blocks_beside_one_without_queries() -> None:
    decoder = random_decoder(5, CODE)
    codes, _, points, region = some(5, 3, 3 * BLOCK_ROWS + 1)
    pattern = torch.tensor([1, 1, 4])
    found = decoder(codes, pattern, points, region)
    chosen = torch.arange(0, len(points), 37)
    np.testing.assert_allclose(found[chosen], naive.multi_decoder(decoder, codes, pattern, points[chosen], region[chosen]), atol=2e-5)


@pytest.mark.parametrize("rows", [1, 3, 256])
@pytest.mark.parametrize("counts", [[1], [0, 5], [3, 0, 4, 0], [1, 1], [300, 2, 513], [7]])
def test_blocks_hold_every_row_once_and_one_pattern_each(counts: list[int], rows: int) -> None:
    pattern = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    pattern = pattern[torch.randperm(len(pattern), generator=torch.Generator().manual_seed(0))]
    layout = arrange_blocks(pattern, len(counts), rows)
    assert torch.equal(layout.row[layout.slot], torch.arange(len(pattern)))
    assert len(set(layout.slot.tolist())) == len(pattern)
    assert len(layout.row) == rows * len(layout.pattern)
    assert torch.equal(layout.pattern[layout.slot // rows], pattern)
    assert layout.pattern.tolist() == sorted(layout.pattern.tolist())
    wanted = sum(-(-count // rows) for count in counts)
    assert len(layout.pattern) == max(2, wanted)
    padding = torch.ones(len(layout.row), dtype=torch.bool)
    padding[layout.slot] = False
    assert not layout.row[padding].any()


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("patterns", [1, 2, 5])
@pytest.mark.parametrize(("code_size", "width"), [(14, 8), (74, 96)])
def test_a_value_does_not_depend_on_the_queries_beside_it(patterns: int, code_size: int, width: int, learned: bool) -> None:
    """Bit for bit: tiles that share a lattice plane must agree on it."""
    decoder = random_decoder(patterns, code_size, width)
    decoder.smooth = (patterns + 1) // 2
    codes, pattern, points, region = some(patterns, 9, (CPU_TOGETHER + 5) * CPU_ROWS + 3, code_size)
    generator = torch.Generator().manual_seed(1)
    with torch.set_grad_enabled(learned):
        conditions = decoder.conditions(codes, pattern)
        whole = decoder.distances(conditions, codes, pattern, points, region)
        for count in (1, 2, 3, 100, CPU_ROWS, CPU_ROWS + 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS):
            chosen = torch.randperm(len(points), generator=generator)[:count]
            assert torch.equal(decoder.distances(conditions, codes, pattern, points[chosen], region[chosen]), whole[chosen]), count


@pytest.mark.parametrize("patterns", [1, 2, 5])
def test_conditions_do_not_depend_on_the_regions_beside_them(patterns: int) -> None:
    decoder = random_decoder(patterns, 74, 96)
    codes, pattern, _, _ = some(patterns, 2 * BLOCK_ROWS + 5, 0, 74)
    whole = decoder.conditions(codes, pattern)
    for count in (0, 1, 2, 50, BLOCK_ROWS + 1):
        assert torch.equal(decoder.conditions(codes[:count], pattern[:count]), whole[:count])


def test_a_fresh_decoder_says_what_the_jet_says() -> None:
    torch.manual_seed(0)
    decoder = MultiDecoder(3, CODE, 8)
    codes, pattern, points, region = some(3, 4, 50)
    expected = jet_distance(codes[region, :COEFFICIENTS], points[:, None])[:, 0]
    torch.testing.assert_close(decoder(codes, pattern, points, region), expected)


def test_a_sheet_stays_beside_its_jet() -> None:
    """However far from its points, its side is that of the jet beyond the correction; a smooth pattern is free."""
    decoder = random_decoder(4, CODE)
    decoder.smooth = 2
    codes, pattern, points, region = some(4, 40, 2000)
    far = 20 * points
    jet = jet_distance(codes[region, :COEFFICIENTS], far[:, None])[:, 0]
    found = decoder(codes, pattern, far, region)
    allowed = (SHEET_SHARE * jet.abs()).clamp_min(SHEET_CORRECTION) + 1e-6
    of_sheet = pattern[region] >= 2
    assert bool(((found - jet).abs() <= allowed)[of_sheet].all())
    assert bool((found * jet > 0)[of_sheet & (jet.abs() > SHEET_CORRECTION + 1e-6)].all())
    assert float(((found - jet).abs() / allowed)[~of_sheet].max()) > 10


def test_no_regions_no_conditions() -> None:
    decoder = random_decoder(2, CODE)
    codes, pattern, points, region = some(2, 1, 0)
    assert decoder.conditions(codes[:0], pattern[:0]).shape == (0, 2 * decoder.width)
    assert decoder(codes[:0], pattern[:0], points, region).shape == (0,)


def test_each_decoder_learns_from_its_own_regions_alone() -> None:
    decoder = random_decoder(3, CODE).requires_grad_(True)
    codes, _, points, region = some(3, 4, 60)
    decoder(codes, torch.tensor([0, 2, 2, 0]), points, region).square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None
        assert not parameter.grad[1].any(), name
        assert bool(parameter.grad[[0, 2]].flatten(1).any(1).all()), name


def test_padding_does_not_learn() -> None:
    """The gradient of a batch is the sum of the gradients of its queries."""
    decoder = random_decoder(2, CODE).double().requires_grad_(True)
    codes, pattern, points, region = some(2, 4, 20)
    codes, points = codes.double(), points.double()
    decoder(codes, pattern, points, region).sum().backward()
    together = {name: p.grad.clone() for name, p in decoder.named_parameters() if p.grad is not None}
    decoder.zero_grad()
    for q in range(20):
        decoder(codes, pattern, points[q : q + 1], region[q : q + 1]).sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, together[name])


@pytest.mark.cuda
@pytest.mark.parametrize("patterns", [1, 5])
def test_cuda_agrees_with_cpu(patterns: int) -> None:
    decoder = random_decoder(patterns, 74, 96)
    given = some(patterns, 40, 5000, 74)
    expected = decoder(*given)
    found = decoder.cuda()(*(part.cuda() for part in given)).cpu()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
