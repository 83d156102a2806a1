"""Networks and patterns with forms, whose decoders are all at work and unlike each other."""

from __future__ import annotations

import torch
from shapes import random_decoder

from lpdif.core.forms import Gate
from lpdif.core.model import Networks, make_networks
from lpdif.core.patterns import Patterns, Whitening
from lpdif.form_names import FORMS


def formed_networks(patterns: int, seed: int = 0) -> Networks:
    """An encoder as it begins, a gate as it begins, and random decoders. Not to learn until it is told to."""
    encoder = make_networks(6, 8, seed).encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gate = Gate()
    decoder = random_decoder(patterns, encoder.code_size)
    decoder.smooth = formed_patterns(patterns).smooth
    return Networks(encoder, decoder, gate).eval().requires_grad_(False)


def formed_patterns(patterns: int, code_size: int = 16) -> Patterns:
    """So many patterns as `fit_patterns` makes them: a form each, and more smooth ones where there are more."""
    forms = min(patterns, len(FORMS))
    centroids = 0.1 * torch.randn((patterns, 2), generator=torch.Generator().manual_seed(patterns))
    form = torch.cat([torch.zeros(patterns - forms, dtype=torch.int64), torch.arange(forms)])
    return Patterns(Whitening(torch.zeros(code_size), torch.eye(code_size)[:, :2]), centroids, form)
