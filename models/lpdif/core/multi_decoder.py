"""Multi-decoder: K pattern decoders as one module, their weights stacked in one tensor a layer.

Letters: R regions, Q queries, K patterns, C code size, W width, B blocks, M rows of a block.
Each decoder is an MLP with residual output: sdf(x) = jet(x) + mlp_k(code, x, jet(x)). Queries are sorted by pattern and cut into
blocks of M rows that share one pattern, so that K decoders are one batched matrix product; a Python loop over regions or patterns is
never needed (tests/naive.py has that loop, and both agree). On a CPU where nothing is learned, smaller blocks go through the layers one
after the other: weights are used where they lie, less is padding, and conditions, products and activations share one buffer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from lpdif.core.jets import COEFFICIENTS, jet_distance

QUERY_INPUTS = 4  # inputs of a query: x, y, z and the jet's distance
HIDDEN_LAYERS = 4  # hidden layers; the query comes in again at the middle one
SHEET_CORRECTION = 0.15  # region sizes by which a sheet may lie beside its jet
SHEET_SHARE = 0.7  # farther off, its distance differs from the jet's by at most this share
BLOCK_ROWS = 256  # M: rows that share one gathered weight matrix
BLOCKS_TOGETHER = 1 << 10  # blocks that go through all layers together on CUDA where nothing is learned
CPU_ROWS = 128  # M on a CPU where nothing is learned
CPU_TOGETHER = 16  # blocks there that share each operation but the products: few stay in the cache


class Blocks(NamedTuple):
    """Rows sorted by pattern and padded to whole blocks.

    row (B * M,) the source row of each slot, padding repeats row 0; slot (Q,) where each source row went; pattern (B,).
    B is never 1.
    """

    row: Tensor
    slot: Tensor
    pattern: Tensor


def arrange_blocks(pattern_Q: Tensor, patterns: int, rows: int = BLOCK_ROWS) -> Blocks:
    """Blocks of `rows` rows for patterns (Q,) int64 below `patterns`."""
    order = torch.argsort(pattern_Q, stable=True)
    counts_K = torch.bincount(pattern_Q, minlength=patterns)
    blocks_K = (counts_K + rows - 1) // rows
    # a block alone goes another way through BLAS than one of several and ends in other last bits: it gets a companion
    blocks_K = blocks_K + (blocks_K == 1) * (blocks_K.sum() == 1)
    first_slot_K = (blocks_K.cumsum(0) - blocks_K) * rows
    first_row_K = counts_K.cumsum(0) - counts_K
    sorted_Q = pattern_Q[order]
    slot_sorted = torch.arange(len(order), device=order.device) - first_row_K[sorted_Q] + first_slot_K[sorted_Q]
    slot = torch.empty_like(order)
    slot[order] = slot_sorted
    row = torch.zeros(int(blocks_K.sum()) * rows, dtype=torch.int64, device=order.device)
    row[slot_sorted] = order
    return Blocks(row, slot, torch.repeat_interleave(torch.arange(patterns, device=order.device), blocks_K))


def pieces(count: int, size: int) -> Iterator[slice]:
    """Slices that cover `range(count)`, count > 1, in pieces of about `size`, none of which is one alone."""
    start = 0
    while start < count:
        stop = start + size if start + size < count - 1 else count
        yield slice(start, stop)
        start = stop


class Maps(NamedTuple):
    """K affine maps, one by one: K weights (I, O) and K biases (O,), which are the rows of bias (K, O)."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    bias: Tensor

    def put(self, blocks: Sequence[tuple[int, int]], rows: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Writes what the rows (M, I) of blocks become to their results (M, O). blocks: the number of each, and that of its map."""
        for block, k in blocks:
            torch.addmm(self.biases[k], rows[block], self.weights[k], out=results[block])

    def add_products(self, blocks: Sequence[tuple[int, int]], rows: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """The same without biases, added to what the results (M, O) are."""
        for block, k in blocks:
            results[block].addmm_(rows[block], self.weights[k])


class StackedLinear(nn.Module):
    """K affine maps in one tensor."""

    def __init__(self, patterns: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(patterns, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(patterns, 1, outputs).uniform_(-bound, bound)) if bias else None

    def each(self) -> Maps:
        """The maps one by one."""
        patterns, _, outputs = self.weight.shape
        bias_KO = self.weight.new_zeros(patterns, outputs) if self.bias is None else self.bias[:, 0]
        return Maps(self.weight.unbind(0), bias_KO.unbind(0), bias_KO)

    def forward(self, rows_BMI: Tensor, pattern_B: Tensor) -> Tensor:
        """(B, M, O): block b goes through map pattern_B[b]."""
        if len(self.weight) == 1:  # one decoder: one flat product
            flat = rows_BMI @ self.weight[0]
            return flat if self.bias is None else flat + self.bias[0]
        weight_BIO = self.weight[pattern_B]
        if self.bias is None:
            return torch.bmm(rows_BMI, weight_BIO)
        return torch.baddbmm(self.bias[pattern_B], rows_BMI, weight_BIO)


class MultiDecoder(nn.Module):
    """K decoders from (code, position) to signed distance, all in the region's frame and size.

    The first `smooth` of them, by default all, are of smooth patterns; the others say the distance to a sheet. A sheet goes on where it has no
    points, behind those of another one, and little tells its decoder how: its zero stays within SHEET_CORRECTION of the jet's, and farther off
    its side is that of the jet.
    """

    def __init__(self, patterns: int, code_size: int, width: int = 128, smooth: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.smooth = patterns if smooth is None else smooth
        self.from_code = StackedLinear(patterns, code_size, 2 * width, bias=False)
        self.from_point = StackedLinear(patterns, QUERY_INPUTS, 2 * width)
        self.hidden = nn.ModuleList(StackedLinear(patterns, width, width) for _ in range(HIDDEN_LAYERS - 1))
        self.out = StackedLinear(patterns, width, 1)
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    @property
    def patterns(self) -> int:
        """K."""
        return len(self.out.weight)

    def forward(self, codes_RC: Tensor, pattern_R: Tensor, points_Q3: Tensor, region_Q: Tensor) -> Tensor:
        """(Q,) signed distances: query q lies at points_Q3[q] in the frame of region region_Q[q]."""
        return self.distances(self.conditions(codes_RC, pattern_R), codes_RC, pattern_R, points_Q3, region_Q)

    def conditions(self, codes_RC: Tensor, pattern_R: Tensor) -> Tensor:
        """(R, 2W) what the code adds to the two layers that the query enters.

        It is the same for all queries of a region.
        """
        if len(codes_RC) == 0:
            return codes_RC.new_zeros(0, 2 * self.width)
        layout = arrange_blocks(pattern_R, self.patterns)
        blocks_BMC = codes_RC[layout.row].view(-1, BLOCK_ROWS, codes_RC.shape[1])
        added_BMV: Tensor = self.from_code(blocks_BMC, layout.pattern)
        return added_BMV.flatten(0, 1)[layout.slot]

    def distances(self, conditions_RV: Tensor, codes_RC: Tensor, pattern_R: Tensor, points_Q3: Tensor, region_Q: Tensor) -> Tensor:
        """(Q,) as `forward`, with the conditions already there.

        All arithmetic is on whole blocks, so that the value of a query does not depend on the queries it is asked with.
        """
        if len(points_Q3) == 0:
            return points_Q3.new_zeros(0)
        lean = not torch.is_grad_enabled()  # nothing is kept for a backward pass, so memory is used again
        if lean and points_Q3.device.type == "cpu":
            return self.cpu_distances(conditions_RV, codes_RC, pattern_R, points_Q3, region_Q)
        layout = arrange_blocks(pattern_R[region_Q], self.patterns)
        row_BM = layout.row.view(-1, BLOCK_ROWS)
        found: list[Tensor] = []
        for part in pieces(len(row_BM), BLOCKS_TOGETHER if lean else len(row_BM)):
            row_X = row_BM[part].flatten()
            points_X3, region_X = points_Q3.index_select(0, row_X), region_Q.index_select(0, row_X)
            jets_XJ = codes_RC[:, :COEFFICIENTS].index_select(0, region_X)
            conditions_XV = conditions_RV.index_select(0, region_X)
            found.append(self.block_distances(jets_XJ, conditions_XV, points_X3, layout.pattern[part], lean))
        return torch.cat(found)[layout.slot]

    def cpu_distances(self, conditions_RV: Tensor, codes_RC: Tensor, pattern_R: Tensor, points_Q3: Tensor, region_Q: Tensor) -> Tensor:
        """(Q,) as `distances`, on a CPU and without a backward pass."""
        layout = arrange_blocks(pattern_R[region_Q], self.patterns, CPU_ROWS)
        layers = [cast(StackedLinear, layer).each() for layer in (self.from_point, *self.hidden, self.out)]
        entry, first, middle, last, out = layers
        late = middle.bias.new_zeros(self.patterns, self.width)
        bias_KV = entry.bias + torch.cat([late, middle.bias], 1)  # what enters at the middle layer brings the bias of that along
        conditions_RV, jets_RJ = conditions_RV + bias_KV[pattern_R], codes_RC[:, :COEFFICIENTS].contiguous()
        pattern = layout.pattern.tolist()
        slots = min(len(pattern), CPU_TOGETHER) * CPU_ROWS
        entered_SV, spare_SW, inputs_S4, correction_S1 = (points_Q3.new_empty(slots, n) for n in (2 * self.width, self.width, QUERY_INPUTS, 1))
        start_SW, middle_SW = entered_SV[:, : self.width], entered_SV[:, self.width :]
        entered, starts, middles, spares, inputs, corrections = (
            torch.split(part, CPU_ROWS) for part in (entered_SV, start_SW, middle_SW, spare_SW, inputs_S4, correction_S1)
        )
        found_S = points_Q3.new_empty(len(layout.row))
        for begin in range(0, len(pattern), CPU_TOGETHER):
            blocks = list(enumerate(pattern[begin : begin + CPU_TOGETHER]))
            used = len(blocks) * CPU_ROWS
            part = slice(begin * CPU_ROWS, begin * CPU_ROWS + used)
            points_X3, region_X = points_Q3.index_select(0, layout.row[part]), region_Q.index_select(0, layout.row[part])
            jet_X = jet_distance(jets_RJ.index_select(0, region_X), points_X3[:, None])[:, 0]
            inputs_S4[:used, :3], inputs_S4[:used, 3] = points_X3, jet_X
            torch.index_select(conditions_RV, 0, region_X, out=entered_SV[:used])
            entry.add_products(blocks, inputs, entered)
            silu(start_SW[:used], inplace=True)
            first.put(blocks, starts, spares)
            silu(spare_SW[:used], inplace=True)
            middle.add_products(blocks, spares, middles)
            silu(middle_SW[:used], inplace=True)
            last.put(blocks, middles, spares)
            silu(spare_SW[:used], inplace=True)
            out.put(blocks, spares, corrections)
            correction_X = correction_S1[:used, 0]
            sheets = slice(sum(k < self.smooth for _, k in blocks) * CPU_ROWS, used)  # patterns of sheets come last
            correction_X[sheets] = bounded(correction_X[sheets], jet_X[sheets])
            torch.add(jet_X, correction_X, out=found_S[part])
        return found_S[layout.slot]

    def block_distances(self, jets_XJ: Tensor, conditions_XV: Tensor, points_X3: Tensor, pattern_B: Tensor, lean: bool) -> Tensor:
        """(X,) signed distances at places (X, 3), B blocks of BLOCK_ROWS each, from the jet and the conditions of the region of each place."""
        jet_X = jet_distance(jets_XJ, points_X3[:, None])[:, 0]
        inputs_BM4 = torch.cat([points_X3, jet_X[:, None]], 1).view(-1, BLOCK_ROWS, QUERY_INPUTS)
        injected_BMV = self.from_point(inputs_BM4, pattern_B)
        conditions_BMV = conditions_XV.view(injected_BMV.shape)
        injected_BMV = injected_BMV.add_(conditions_BMV) if lean else injected_BMV + conditions_BMV
        start_BMW, middle_BMW = injected_BMV.chunk(2, 2)
        x = silu(start_BMW)
        for number, layer in enumerate(self.hidden):
            x = layer(x, pattern_B)
            x = silu(x + middle_BMW if number == len(self.hidden) // 2 else x, inplace=lean)
        correction_BM1: Tensor = self.out(x, pattern_B)
        if self.smooth < self.patterns:
            bounded_BM1 = bounded(correction_BM1, jet_X.view(correction_BM1.shape))
            correction_BM1 = torch.where((pattern_B < self.smooth)[:, None, None], correction_BM1, bounded_BM1)
        return jet_X + correction_BM1.flatten()


def bounded(correction_X: Tensor, jet_X: Tensor) -> Tensor:
    """(X,) corrections (X,) of sheets, held within their bound at places with these distances (X,) to the jet."""
    bound_X = (SHEET_SHARE * jet_X.abs()).clamp_min(SHEET_CORRECTION)
    return bound_X * torch.tanh(correction_X / bound_X)
