"""preprocess: scans and meshes -> samples of regions, one shard a file.

A closed mesh gives exact signed distances; anything else is used as a scan and never closed silently. Restartable: a shard whose
source and settings have not changed is kept. A bad file does not stop the others.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from lpdif.config import PreprocessConfig
from lpdif.device import available_threads
from lpdif.errors import InputError, ResourceError
from lpdif.io.fingerprints import content_with, distinct_files
from lpdif.io.folders import Skipped, real, scans_below, tell_skipped
from lpdif.io.read import load_scan
from lpdif.io.registry import all_endings
from lpdif.points.prepare import prepare
from lpdif.shutdown import add_cleanup, remove_cleanup
from lpdif.stages.region_samples import RegionSamples, closed_shape_regions, region_sizes, scan_regions
from lpdif.stages.workers import Captured, WorkerEnded, capture, run_jobs
from lpdif.storage.atomic_write import check_output, remove_leftovers, write_bytes
from lpdif.storage.lock import workspace_lock
from lpdif.storage.strict_json import dump
from lpdif.storage.tensor_files import SAMPLES
from lpdif.storage.workspace import Workspace
from lpdif.text import counted
from lpdif.types import Progress, Scan, silent

log = logging.getLogger("lpdif")

CLOSED, SCAN = "closed", "scan"  # what a file is taken as
REGION_SIZES = 12  # region sizes of a shape
SCAN_SPACINGS = 3.0  # a scan's smallest region, in spacings of the half that the encoder sees


@dataclass(frozen=True)
class PreprocessReport:
    """What a run has come to.

    kept      files of which there are samples
    regions   in these samples
    left_out  (file, reason) of those that cannot be used
    skipped   (file, reason) of the notes in folders, which are no scans, and of files that repeat another one
    closed    how many of the kept files gave exact distances; the others are used as scans
    reused    of how many of the kept files there were samples already
    """

    kept: int
    regions: int
    left_out: list[tuple[str, str]]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    closed: int = 0
    reused: int = 0


def preprocess(
    paths: Sequence[Path], workspace: Path, config: PreprocessConfig | None = None, threads: int = 0, progress: Progress = silent
) -> PreprocessReport:
    """Write samples of every scan and mesh under `paths` (files and folders) to the workspace.

    Files in a folder that are no scans are skipped, and so are files that repeat another one byte for byte: no shape counts twice.
    threads: processes at work; 0 takes one for each core. Raises InputError where no file gives a region, ResourceError where a
    process at work is ended from outside.
    """
    config = config or PreprocessConfig()
    place = Workspace(workspace)
    files, others = scan_files(paths, place)
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no scan found", f"give files or folders with {', '.join(sorted(all_endings()))}")
    tell_skipped(others)
    files, repeated = distinct_files(files)
    skipped = [(str(file), reason) for file, reason in others] + [(str(file), f"same content as {first}") for file, first in repeated]
    for file, first in repeated:
        log.warning("%s: same content as %s; used once", file, first)
    with workspace_lock(place.root, "preprocess"):
        place.check_samples()
        place.samples.mkdir(parents=True, exist_ok=True)
        check_output(place.manifest, overwrite=True)
        report = preprocess_files(files, place, config, threads, progress)
    return dataclasses.replace(report, skipped=skipped)


def preprocess_files(files: list[Path], place: Workspace, config: PreprocessConfig, threads: int, progress: Progress) -> PreprocessReport:
    """The stage itself, with the workspace's lock held."""
    kept: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    workers = min(len(files), threads or available_threads())
    level = log.getEffectiveLevel()
    names = labels(files)
    jobs = [(preprocess_file, level, file, place.samples, config) for file in files]
    answers: dict[int, Captured[dict[str, Any]]] = {}
    before = {file.name: file.stat().st_mtime_ns for file in place.samples.glob("*.safetensors")}
    reported = 0  # files, in their order, whatever the order in which they are done
    add_cleanup(place.samples, lambda: remove_leftovers(place.samples))  # those of workers that had to be killed
    try:
        with closing(run_jobs(capture, jobs, workers)) as results:
            for done, (number, answer) in enumerate(results, 1):
                answers[number] = answer
                if isinstance(answer.error, ResourceError):
                    raise answer.error
                while reported in answers:
                    file, name, captured = files[reported], names[reported], answers[reported]
                    log_messages(captured.messages, name, file.name)
                    if captured.result is not None:
                        kept.append(captured.result)
                    elif captured.error is not None and len(files) == 1:
                        raise captured.error
                    elif captured.error is not None:
                        left_out.append((str(file), captured.error.message.removeprefix(f"{file.name}: ")))
                        log.warning("%s left out: %s", name, left_out[-1][1])
                    reported += 1
                progress("preprocess", done, len(files))
    except WorkerEnded:
        fewer = f", or have fewer at work: --threads {workers // 2}" if workers > 1 else ""
        raise ResourceError(
            f"one of {workers} processes at work ended before its file was done, as happens where memory runs out",
            f"close other programs{fewer}; samples that are done are kept",
        ) from None
    finally:
        remove_leftovers(place.samples)
        remove_cleanup(place.samples)
    kept.sort(key=lambda row: str(row["shard"]))
    left_out.sort()
    if not kept:
        raise InputError(f"none of {counted(len(files), 'file')} gives a region; {left_out[0][0]}: {left_out[0][1]}", "see the reasons above")
    about = {"kept": kept, "left_out": left_out, "settings": dataclasses.asdict(config)}
    write_bytes(place.manifest, dump(about, indent=1).encode(), overwrite=True)
    closed = sum(row["kind"] == CLOSED for row in kept)
    reused = sum(before.get(row["shard"]) == (place.samples / row["shard"]).stat().st_mtime_ns for row in kept)
    return PreprocessReport(len(kept), sum(row["regions"] for row in kept), left_out, closed=closed, reused=reused)


def labels(files: Sequence[Path]) -> list[str]:
    """What each file is called in messages: its name, or its path where another one has that name."""
    names = Counter(file.name for file in files)
    return [file.name if names[file.name] == 1 else str(file) for file in files]


def log_messages(messages: Sequence[tuple[int, str]], label: str, name: str) -> None:
    """Logs the messages of a worker about the file `name`, with the file's label before each."""
    for level, text in messages:
        log.log(level, "%s: %s", label, text.removeprefix(f"{name}: "))


def scan_files(paths: Sequence[Path], workspace: Workspace) -> tuple[list[Path], list[Skipped]]:
    """The files to use, each once, and the other files of the folders among `paths`.

    To use are the files named and, below the folders named, those with a known ending, sorted within a folder. Nothing in the workspace is
    listed.
    """
    found: dict[Path, Path] = {}
    skipped: dict[Path, Skipped] = {}
    for path in map(Path, paths):
        files, others = scans_below(path, (workspace.root, workspace.samples)) if path.is_dir() else ([path], [])
        for file in files:
            found.setdefault(real(file), file)
        skipped |= {real(other.file): other for other in others}
    return list(found.values()), [other for place, other in skipped.items() if place not in found]


def preprocess_file(file: Path, folder: Path, config: PreprocessConfig) -> dict[str, Any]:
    """Write the shard of one file unless an up-to-date one is there; returns its manifest row."""
    import torch

    from lpdif.errors import ModelError
    from lpdif.storage.models import save_tensors
    from lpdif.storage.shards import load_shard

    content, stamp = fingerprint(file, config)
    shard = folder / f"{file.stem}-{stamp[:8]}.safetensors"
    source = {"source": file.name, "path": str(file.resolve()), "content": content, "bytes": file.stat().st_size}
    if shard.exists():
        try:
            card = load_shard(shard, folder)[1]
            return {"shard": shard.name, **source, "regions": card["regions"], "kind": card["kind"]}
        except (ModelError, KeyError):
            log.info("%s: its shard is damaged and made again", file.name)
    rng = np.random.default_rng([config.seed, zlib.crc32(file.name.encode())])
    samples, kind = file_regions(load_scan(file), config, rng)
    tensors = {field.name: torch.from_numpy(getattr(samples, field.name)) for field in dataclasses.fields(samples)}
    tensors["points"], tensors["normals"] = tensors["points"].half(), tensors["normals"].half()
    card = {"source": file.name, "regions": len(samples.counts), "kind": kind, "settings": dataclasses.asdict(config)}
    save_tensors(shard, SAMPLES, tensors, card)
    return {"shard": shard.name, **source, "regions": len(samples.counts), "kind": kind}


def fingerprint(file: Path, config: PreprocessConfig) -> tuple[str, str]:
    """What changes when the file's bytes do; and what changes when these or the settings do."""
    try:
        return content_with(file, json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{file.name}: {why}", "check the path and its permissions") from None


def file_regions(scan: Scan, config: PreprocessConfig, rng: np.random.Generator) -> tuple[RegionSamples, str]:
    """Regions of one scan over REGION_SIZES sizes, and "closed" or "scan" for what it was taken as."""
    each = max(1, config.regions_per_shape // REGION_SIZES)
    parts = []
    if scan.faces is not None and closed_and_consistent(scan):
        low, high = scan.points.min(0), scan.points.max(0)
        vertices = (scan.points - 0.5 * (low + high)) / float((high - low).max())
        for size in region_sizes(REGION_SIZES, config.finest, config.coarsest, rng):
            parts.append(closed_shape_regions(vertices, scan.faces, float(size), each, config.points, config.samples, rng))
        kind = CLOSED
    else:
        ready = prepare(scan, seed=config.seed)
        longest = float(np.ptp(ready.points, axis=0).max())
        finest = max(config.finest, SCAN_SPACINGS * np.sqrt(2) * ready.spacing / longest)
        if finest > config.coarsest:
            raise InputError(
                f"{scan.name}: too few points ({len(ready.points)}) for regions of {config.coarsest:.3g} of its size", "give a denser scan"
            )
        for size in region_sizes(REGION_SIZES, finest, config.coarsest, rng):
            parts.append(scan_regions(ready.points / longest, ready.normals, float(size), each, config.points, config.samples, rng))
        kind = SCAN
    names = [field.name for field in dataclasses.fields(RegionSamples)]
    whole = RegionSamples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    if len(whole.counts) == 0:
        raise InputError(
            f"{scan.name}: no region has a surface that separates inside from outside",
            "check the mesh for inverted or inner walls",
        )
    return whole, kind


def closed_and_consistent(scan: Scan) -> bool:
    """Whether the faces bound a solid. Logs the reason where they do not.

    Every edge must be shared by two faces that agree on the outside, and the volume must be above zero.
    """
    mesh = trimesh.Trimesh(scan.points, scan.faces, process=False)
    mesh.merge_vertices()
    if not mesh.is_watertight:
        why = "an open mesh"
    elif not mesh.is_winding_consistent:
        why = "closed, but its faces do not agree on the outside"
    elif mesh.volume <= 0:
        why = "closed but inside out"
    else:
        return True
    log.info("%s: %s; used as a scan", scan.name, why)
    return False
