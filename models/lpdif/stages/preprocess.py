"""preprocess: scans and meshes -> samples of regions, one shard a file.

A closed mesh gives exact signed distances; anything else is used as a scan and never closed silently. Restartable: a shard whose
source and settings have not changed is kept. A bad file does not stop the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from lpdif.atomic import check_output, write_bytes
from lpdif.config import PreprocessConfig
from lpdif.device import available_threads
from lpdif.errors import InputError, LpdifError, ResourceError
from lpdif.folders import NOTES, scans_below, tell_skipped
from lpdif.locking import workspace_lock
from lpdif.preparation import prepare
from lpdif.progress import Progress, silent
from lpdif.reading import READABLE, load_scan
from lpdif.sampling import RegionSamples, closed_shape_regions, region_sizes, scan_regions
from lpdif.scans import Scan
from lpdif.words import counted
from lpdif.workspace import Workspace

log = logging.getLogger("lpdif")

SCALES = 12  # region sizes of a shape
SPACINGS = 3.0  # a scan's smallest region, in spacings of the half that the encoder sees


@dataclass(frozen=True)
class PreprocessReport:
    """Files kept, regions in them, and (file, reason) of those left out, and of the notes in folders, which are no scans."""

    kept: int
    regions: int
    left_out: list[tuple[str, str]]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def preprocess(
    paths: Sequence[Path], workspace: Path, config: PreprocessConfig | None = None, threads: int = 0, progress: Progress = silent
) -> PreprocessReport:
    """Samples of every scan and mesh under `paths` (files and folders), written to the workspace. Notes in a folder are skipped.

    threads: processes at work; 0 takes one for each core. Raises InputError where no file gives a region, ResourceError where a
    process at work is ended from outside.
    """
    config = config or PreprocessConfig()
    files, notes = scan_files(paths)
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no scan found", f"give files or folders with {', '.join(sorted(READABLE))}")
    tell_skipped(notes)
    place = Workspace(workspace)
    with workspace_lock(place.root, "preprocess"):
        place.samples.mkdir(parents=True, exist_ok=True)
        check_output(place.manifest, overwrite=True)
        report = preprocess_files(files, place, config, threads, progress)
    return dataclasses.replace(report, skipped=[(str(note), NOTES) for note in notes])


def preprocess_files(files: list[Path], place: Workspace, config: PreprocessConfig, threads: int, progress: Progress) -> PreprocessReport:
    """The stage itself, with the workspace's lock held."""
    kept: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    workers = min(len(files), threads or available_threads())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=begin_work)
    try:
        waiting = {pool.submit(preprocess_file, file, place.samples, config): file for file in files}
        for done, future in enumerate(as_completed(waiting), 1):
            file = waiting[future]
            try:
                kept.append(future.result())
            except ResourceError:
                raise
            except LpdifError as error:
                left_out.append((str(file), error.message.removeprefix(f"{file.name}: ")))
                log.warning("%s left out: %s", file.name, left_out[-1][1])
            progress("preprocess", done, len(files))
    except BrokenProcessPool:
        fewer = f", or have fewer at work: --threads {workers // 2}" if workers > 1 else ""
        raise ResourceError(
            f"one of {workers} processes at work ended before its file was done, as happens where memory runs out",
            f"close other programs{fewer}; samples that are done are kept",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    kept.sort(key=lambda row: str(row["shard"]))
    left_out.sort()
    if not kept:
        raise InputError(f"none of {counted(len(files), 'file')} gives a region; {left_out[0][0]}: {left_out[0][1]}", "see the reasons above")
    about = {"kept": kept, "left_out": left_out, "settings": dataclasses.asdict(config)}
    write_bytes(place.manifest, json.dumps(about, indent=1).encode(), overwrite=True)
    return PreprocessReport(len(kept), sum(row["regions"] for row in kept), left_out)


def scan_files(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files named, and those below the folders named that have a known ending; each once, sorted within a folder. And the notes
    in the folders, which are not among them."""
    found: dict[Path, Path] = {}
    skipped: dict[Path, Path] = {}
    for path in map(Path, paths):
        files, notes = scans_below(path) if path.is_dir() else ([path], [])
        for file in files:
            found.setdefault(file.resolve(), file)
        skipped |= {note.resolve(): note for note in notes}
    return list(found.values()), [note for place, note in skipped.items() if place not in found]


def begin_work() -> None:
    """A worker process leaves the other cores to its siblings, and Ctrl-C to its parent, which lets it finish its file. It ends
    when its parent does, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Waits for the end of the process that started this one, and ends this one with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # whatever the other threads do: nobody waits for it


def preprocess_file(file: Path, folder: Path, config: PreprocessConfig) -> dict[str, Any]:
    """Write the shard of one file unless an up-to-date one is there; returns its manifest row."""
    import torch

    from lpdif.artifacts import SAMPLES, load_tensors, save_tensors
    from lpdif.errors import ModelError

    stamp = fingerprint(file, config)
    shard = folder / f"{file.stem}-{stamp[:8]}.safetensors"
    if shard.exists():
        try:
            card = load_tensors(shard, SAMPLES)[1]
            return {"shard": shard.name, "source": file.name, "regions": card["regions"], "kind": card["kind"]}
        except (ModelError, KeyError, TypeError):
            log.info("%s: its shard is damaged and made again", file.name)
    rng = np.random.default_rng([config.seed, zlib.crc32(file.name.encode())])
    samples, kind = file_regions(load_scan(file), config, rng)
    tensors = {field.name: torch.from_numpy(getattr(samples, field.name)) for field in dataclasses.fields(samples)}
    tensors["points"], tensors["normals"] = tensors["points"].half(), tensors["normals"].half()
    card = {"source": file.name, "regions": len(samples.counts), "kind": kind, "settings": dataclasses.asdict(config)}
    save_tensors(shard, SAMPLES, tensors, card)
    return {"shard": shard.name, "source": file.name, "regions": len(samples.counts), "kind": kind}


def fingerprint(file: Path, config: PreprocessConfig) -> str:
    """Changes when the file's bytes or the settings do."""
    try:
        content = hashlib.blake2b(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file.name}: cannot be read ({error.strerror})", "check the path and its permissions") from None
    content.update(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    return content.hexdigest()


def file_regions(scan: Scan, config: PreprocessConfig, rng: np.random.Generator) -> tuple[RegionSamples, str]:
    """Regions of one scan over SCALES sizes, and "closed" or "scan" for what it was taken as."""
    each = max(1, config.regions_per_shape // SCALES)
    parts = []
    if scan.faces is not None and closed_and_consistent(scan):
        low, high = scan.points.min(0), scan.points.max(0)
        vertices = (scan.points - 0.5 * (low + high)) / float((high - low).max())
        for size in region_sizes(SCALES, config.finest, config.coarsest, rng):
            parts.append(closed_shape_regions(vertices, scan.faces, float(size), each, config.points, config.samples, rng))
        kind = "closed"
    else:
        ready = prepare(scan, seed=config.seed)
        longest = float(np.ptp(ready.points, axis=0).max())
        finest = max(config.finest, SPACINGS * np.sqrt(2) * ready.spacing / longest)
        if finest > config.coarsest:
            raise InputError(
                f"{scan.name}: too few points ({len(ready.points)}) for regions of {config.coarsest:.3g} of its size", "give a denser scan"
            )
        for size in region_sizes(SCALES, finest, config.coarsest, rng):
            parts.append(scan_regions(ready.points / longest, ready.normals, float(size), each, config.points, config.samples, rng))
        kind = "scan"
    names = [field.name for field in dataclasses.fields(RegionSamples)]
    whole = RegionSamples(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    if len(whole.counts) == 0:
        raise InputError(
            f"{scan.name}: no region has a surface that separates inside from outside",
            "check the mesh for inverted or inner walls",
        )
    return whole, kind


def closed_and_consistent(scan: Scan) -> bool:
    """Whether the faces bound a solid: every edge shared by two faces that agree on the outside, and a volume above zero."""
    mesh = trimesh.Trimesh(scan.points, scan.faces, process=False)
    mesh.merge_vertices()
    if not (mesh.is_watertight and mesh.is_winding_consistent):
        return False
    if mesh.volume <= 0:
        log.info("%s: closed but inside out; used as a scan", scan.name)
    return bool(mesh.volume > 0)
