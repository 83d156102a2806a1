"""Forms on top of a model of smooth patterns: decoders of the forms and the gate learn, all else stays as it is.

    python benchmarks/forms_on_top.py MODEL -o NEW.safetensors --workspace lpdif-workspace [--steps 2500]

MODEL: without forms, as `lpdif fit` made it before there were any. Its encoder and its decoders stay, so smooth regions come out as
before, bit for bit. Each of the six other forms gets a decoder, which starts as a copy of the first and learns from the sheets of its
regions; the gate learns beside them. The model that ships was made so (models/README.md says why). A running mean of the weights is kept.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from lpdif.core.augment import scanned
from lpdif.core.forms import FORM_V, FORMS
from lpdif.core.frames import canonical_frames
from lpdif.core.losses import gate_loss, region_loss
from lpdif.core.model import Choice, Model, in_frames
from lpdif.core.optimizer import TrainingRegions, copy_decoders, step_generator
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen
from lpdif.device import repeatable
from lpdif.stages.held_out import split_regions, validate
from lpdif.storage.models import load_model, save_model
from lpdif.storage.shards import load_samples
from lpdif.storage.workspace import Workspace

SEED = 11
BATCH = 256  # regions of a step
SAMPLES = 32  # samples of a region
TRIAL = 0.4  # share of regions that take the form that explains their points best
RATES = (1e-3, 2e-3)  # peak learning rates of the decoders and of the gate
WARM_UP = 100  # steps
LAST_RATE = 0.02  # share of the learning rate at the end of the cosine
MEAN_DECAY = 0.998


def with_forms(model: Model) -> Model:
    """The model with a pattern for each further form, whose decoders are copies of the first one."""
    smooth = len(model.patterns.form)
    if model.patterns.forms > 1:
        raise SystemExit("the model has forms already")
    copy_decoders(model.networks.decoder, torch.tensor([*range(smooth), *[0] * (len(FORMS) - 1)]))
    more = torch.zeros(len(FORMS) - 1, model.patterns.centroids.shape[1])
    form = torch.cat([model.patterns.form, torch.arange(1, len(FORMS))])
    return Model(model.networks, Patterns(model.patterns.whitening, torch.cat([model.patterns.centroids, more]), form), model.card)


def rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: a warm-up, then a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def loss_of_forms(model: Model, data: TrainingRegions, step: int) -> Tensor:
    """Mean loss of the regions of a batch that are not smooth, and, in every second step, that of the gate."""
    generator = step_generator(SEED, step)
    chosen = data.at(torch.randint(len(data.counts), (BATCH,), generator=generator))
    drawn = torch.randperm(data.sdf.shape[1], generator=generator)[:SAMPLES]
    seen = scanned(chosen.points.float(), chosen.normals.float(), chosen.counts, generator)
    queries, sdf = chosen.queries[:, drawn], chosen.sdf[:, drawn]
    with torch.no_grad():
        inside = in_frames(seen, canonical_frames(*seen, torch.rand(BATCH, generator=generator) < 0.5))
    choice = model.networks.choose(inside, model.patterns.forms, torch.rand(BATCH, generator=generator) < TRIAL)
    bent = torch.nonzero(choice.arrangement)[:, 0]
    loss = gate_loss(model.networks, model.patterns, seen, queries, sdf) if step % 2 == 0 else sdf.new_zeros(())
    if len(bent) == 0:
        return loss
    some = Choice(*(part[bent] for part in choice))
    no_codes = torch.zeros(len(bent), model.networks.encoder.code_size)  # a form has one pattern, whatever the code
    pattern = model.patterns.assign(no_codes, FORM_V[some.arrangement])
    found = model.networks.ask_sheets(Seen(*(part[bent] for part in seen)), some, pattern, queries[bent])
    return loss + region_loss(found, sdf[bent]).mean()


def learn(model: Model, data: TrainingRegions, steps: int) -> Model:
    """The model after so many steps: the running mean of its weights."""
    networks, smooth = model.networks, int((model.patterns.form == 0).sum())
    networks.gate.requires_grad_(True)
    networks.decoder.requires_grad_(True)
    keep = torch.cat([torch.zeros(smooth), torch.ones(len(model.patterns.form) - smooth)])
    for parameter in networks.decoder.parameters():
        parameter.register_hook(lambda gradient: gradient * keep.view(-1, 1, 1))
    groups = [{"params": list(part.parameters()), "lr": peak} for part, peak in zip((networks.decoder, networks.gate), RATES, strict=True)]
    adam = torch.optim.Adam(groups)
    mean = {name: value.clone() for name, value in networks.state_dict().items()}
    smoothed = float("nan")
    for step in range(steps):
        for group, peak in zip(adam.param_groups, RATES, strict=True):
            group["lr"] = peak * rate(step, steps)
        loss = loss_of_forms(model, data, step)
        adam.zero_grad()
        loss.backward()
        adam.step()
        decay = min(MEAN_DECAY, (1 + step) / (10 + step))
        for name, value in networks.state_dict().items():
            mean[name].lerp_(value.detach(), 1 - decay)
        smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
        if step % 100 == 99:
            print(f"step {step + 1} of {steps}: loss {smoothed:.4f}", flush=True)
    networks.load_state_dict(mean)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("lpdif-workspace"))
    parser.add_argument("--steps", type=int, default=2500)
    args = parser.parse_args()
    training, held_out = split_regions(load_samples(Workspace(args.workspace))[0])
    with repeatable():
        model = learn(with_forms(load_model(args.model)), training, args.steps)
        networks = model.networks.eval().requires_grad_(False)
        validation = validate(networks, model.patterns, held_out, 0, torch.device("cpu"))
    card = {name: value for name, value in model.card.items() if name != "sizes"}
    config = {**card.get("config", {}), "patterns": len(model.patterns.form)}
    save_model(args.output, Model(networks, model.patterns, {**card, "config": config, "form_steps": args.steps, "validation": validation}))


if __name__ == "__main__":
    main()
