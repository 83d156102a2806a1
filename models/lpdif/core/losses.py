"""What training makes small: the error of the distances, and that of the gate's choices.

Letters: B regions of a step, R of them that may bend, S samples of a region, M sheets, F forms, V arrangements, C code size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lpdif.core.forms import COLUMN_V3, FORM_V, Evidence, Sheets, combine
from lpdif.core.model import Answer, Networks, sheet_points
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen


class LossSettings(NamedTuple):
    """What counts in a loss. Lengths are in region sizes."""

    focus: float = 0.1  # The loss of a sample at distance d from the surface counts 1 / (focus + |d|).
    held: float = 1.0  # Distances are compared within this many region sizes.
    gate_regions: int = 64  # Regions of a step, at most, that the gate learns from.
    gate_samples: int = 16  # Samples of a region that it learns from.


LOSS = LossSettings()


def region_loss(found_BS: Tensor, true_BS: Tensor) -> Tensor:
    """(B,) mean over samples of |found - true| / (LOSS.focus + |true|).

    In the difference, distances are held within +-LOSS.held region sizes.
    """
    error = (found_BS.clamp(-LOSS.held, LOSS.held) - true_BS.clamp(-LOSS.held, LOSS.held)).abs()
    return (error / (LOSS.focus + true_BS.abs())).mean(1)


def gate_loss(
    networks: Networks, patterns: Patterns, seen: Seen, answer: Answer, queries_BS3: Tensor, sdf_BS: Tensor, share: float = 1.0
) -> Tensor:
    """Mean loss of regions if their arrangement were drawn by the gate's odds, for the gate to learn from.

    Of the regions that the gate was asked about, the first LOSS.gate_regions are tried in every arrangement, at LOSS.gate_samples samples.
    Of a part of a step, which is this share of its regions, it is the same share. Only the gate gets a gradient.
    """
    if answer.found is None:
        return sdf_BS.new_zeros(())
    queries_BS3, sdf_BS = queries_BS3[:, : LOSS.gate_samples], sdf_BS[:, : LOSS.gate_samples]
    most = math.ceil(share * LOSS.gate_regions)
    asked = answer.asked[:most]
    found = Evidence(*(part[:most] for part in answer.found))
    logits_RV, radius_R = networks.gate(found)
    none_V = (patterns.forms <= FORM_V).to(logits_RV.device)
    odds_RV = torch.softmax(logits_RV.masked_fill(none_V, -torch.inf), 1)
    with torch.no_grad():
        smooth_RS = answer.smooth[asked, : LOSS.gate_samples]
        values = sheet_values(networks, patterns, Seen(*(array[asked] for array in seen)), found.sees, queries_BS3[asked])
        losses_RV = arrangement_losses(smooth_RS, values, radius_R.detach(), sdf_BS[asked], patterns.forms)
    return share * (odds_RV * losses_RV).sum(1).mean()


def sheet_values(networks: Networks, patterns: Patterns, seen: Seen, sees_RPM: Tensor, queries_RS3: Tensor) -> Tensor:
    """(F, R, 5, S) distances at the queries to each of the five sheets, by the decoders of the F forms; NaN for those not in the form."""
    regions, samples = queries_RS3.shape[:2]
    columns = sees_RPM.shape[2]
    on = queries_RS3.device
    owner_T = torch.arange(regions, device=on).repeat_interleave(columns)
    sheets = Sheets(owner_T, owner_T[::columns], torch.arange(1, columns + 1, device=on).repeat(regions))
    frames, codes_TC = networks.encode_sheets(sheet_points(seen, sees_RPM, sheets))
    inside_TS3 = frames.inward(queries_RS3[owner_T])
    values = queries_RS3.new_full((patterns.forms, regions, columns, samples), torch.nan)
    for form in range(1, patterns.forms):  # seven at most; the work inside is one batched product
        used = torch.unique(COLUMN_V3[form == FORM_V]).to(on)
        rows = torch.nonzero((sheets.column[:, None] == used).any(1))[:, 0]
        pattern = torch.full((len(rows),), int((patterns.form == form).nonzero()[0, 0]), dtype=torch.int64, device=on)
        owner_Q = torch.arange(len(rows), device=on).repeat_interleave(samples)
        found = networks.decoder(codes_TC[rows], pattern, inside_TS3[rows].flatten(0, 1), owner_Q)
        values[form].view(-1, samples)[rows] = found.view(-1, samples)
    return values


def arrangement_losses(smooth_RS: Tensor, values_FRMS: Tensor, radius_R: Tensor, sdf_RS: Tensor, forms: int) -> Tensor:
    """(R, V) loss of every arrangement; 0 for those whose form is not among the first `forms`."""
    regions, samples = sdf_RS.shape
    losses = [region_loss(smooth_RS, sdf_RS)]
    columns_V3 = COLUMN_V3.to(sdf_RS.device) - 1
    for number in range(1, len(FORM_V)):
        form = int(FORM_V[number])
        if form >= forms:
            losses.append(torch.zeros_like(losses[0]))
            continue
        sheets_QM = values_FRMS[form][:, columns_V3[number]].transpose(1, 2).reshape(-1, 3)
        arrangement_Q = torch.full((regions * samples,), number, dtype=torch.int64, device=sdf_RS.device)
        found = combine(sheets_QM, arrangement_Q, radius_R.repeat_interleave(samples)).view(regions, samples)
        losses.append(region_loss(found, sdf_RS))
    return torch.stack(losses, 1)
