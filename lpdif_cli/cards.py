"""Reads the headers of files that lpdif has written: their kind and card, and how far a fit has come.

Loads neither torch nor tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lpdif.config import FRESH, FitConfig, fit_config
from lpdif.errors import InputError, ModelError
from lpdif.form_names import FORMS, pattern_names
from lpdif.storage.strict_json import Each, Whole, check
from lpdif.storage.tensor_files import SNAPSHOT, FileHeader, read_tensor_header


@dataclass(frozen=True)
class FitState:
    """How far the fit of a snapshot has come.

    step, steps: done, and in all; patterns: their number; grouped: whether its codes are grouped into them yet; settings: of the fit.
    """

    step: int
    steps: int
    patterns: int
    grouped: bool
    settings: FitConfig


def read_card(path: Path, within: Path | None = None) -> FileHeader:
    """The header of a file of lpdif.

    Raises ModelError where it is damaged, of another program, or outside of `within`.
    """
    try:
        return read_tensor_header(path, "it is damaged, or something else; make a model with `lpdif fit`", within=within)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None


def names_of_patterns(path: Path, head: FileHeader) -> list[str]:
    """The names of the patterns in a model or snapshot. Raises ModelError where they have no known form."""
    known = [int(form) for form in head.forms if form in range(len(FORMS))]
    if len(known) < len(head.forms):
        raise ModelError(f"{path}: patterns.form: expected numbers of {len(FORMS)} forms", "the file is damaged; fit again")
    return pattern_names(known)


def read_fit_state(snapshot: Path, within: Path | None = None) -> FitState:
    """How far the fit of this snapshot has come.

    Raises ModelError where it is missing, damaged, or outside of `within`.
    """
    if not snapshot.exists():
        raise ModelError(f"{snapshot}: nothing to resume", "start without --resume")
    hint = "it is damaged; start anew: lpdif fit --overwrite"
    head = read_tensor_header(snapshot, hint, SNAPSHOT, within)
    try:
        check(head.card, {"config": Each(object)}, "a card: it")
        settings = fit_config(head.card["config"])
        grouped = head.tensors.get("patterns.centroids")
        patterns = grouped.shape[0] if grouped and grouped.shape else settings.patterns
        check({"step": head.step, "patterns": patterns}, Each(Whole()))
    except ValueError as error:
        raise ModelError(f"{snapshot}: expected the settings of a fit in its card, found {error}", hint) from None
    return FitState(head.step, settings.shared_steps + settings.pattern_steps, patterns, grouped is not None, settings)


def resume_words(state: FitState, where: Sequence[str]) -> list[str]:
    """The words of the command that resumes a fit. where: the options that name its workspace."""
    seed = ["--seed", str(state.settings.seed)] if state.settings.seed != FitConfig.seed else []
    start = ["--start", state.settings.start] if state.settings.start != FRESH else []
    return ["fit", "--resume", "--patterns", str(state.patterns), *start, *seed, *where]
