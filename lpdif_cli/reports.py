"""The file of --report: checked before the work begins, written when it is done."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import lpdif
from lpdif.config import FRESH
from lpdif.errors import LpdifError, UsageError
from lpdif.storage.safe_open import RefusedFile, open_regular
from lpdif.text import size
from lpdif_cli.console import Console
from lpdif_cli.options import up_axis
from lpdif_cli.outcomes import Job, Outcome, failure_line
from lpdif_cli.settings import Settings, show_value
from lpdif_cli.wording import command_line

if TYPE_CHECKING:
    from lpdif.arrays import FloatArray, IntArray
    from lpdif.config import FitConfig
    from lpdif.io.folders import Skipped
    from lpdif.report.page import Run
    from lpdif.stages.fit import FitReport
    from lpdif.tools.laps import Laps

log = logging.getLogger("lpdif")

ENDING = ".html"
PACKAGES = ("numpy", "scipy", "torch", "point-cloud-utils", "libigl", "PyMCubes")  # those whose versions can move a result
SHARE_OF_TIME = 0.05  # of a batch may go into writing its report while it goes on
EVERYWHERE = ("workspace", "device", "threads")  # settings that every stage has


@dataclasses.dataclass
class ReportFile:
    """The report of a run of a stage, with what it says of every run.

    inputs: name and value of what else the run depends on, asked for when it is over. up: the axis that points up in pictures, where given.
    """

    path: Path
    overwrite: bool
    console: Console
    settings: Settings
    stage: str
    inputs: Callable[[], Mapping[str, str]] = dict
    up: str | None = None
    _due: float = 0.0  # when it is written again while the run goes on

    def check(self, continues: bool) -> None:
        """Raises UsageError where the report could not be written.

        continues: the run goes on with what an earlier one has made. Then a report that lpdif wrote is replaced without --overwrite.
        """
        from lpdif.storage.atomic_write import check_output

        self.overwrite = self.overwrite or (continues and is_report(self.path))
        check_output(self.path, self.overwrite)

    def write(self, content: bytes) -> None:
        """Writes the page, and says so."""
        self._put(content)
        self.console.say(f"wrote {self.path}: a report of {size(len(content))}, to be opened in a browser")

    def keep_up(self, content: Callable[[], bytes]) -> None:
        """Writes the page of a run that goes on, so that one that is stopped has left it; seldom enough to take little of its time."""
        began = self.console.elapsed()
        if began >= self._due:
            try:
                self._put(content())
            except (LpdifError, OSError) as error:  # the scans that wait are worth more than the page, which is tried again at the end
                self.console.warn(f"{self.path}: not written yet ({error})")
            now = self.console.elapsed()
            self._due = now + (now - began) / SHARE_OF_TIME

    def _put(self, content: bytes) -> None:
        from lpdif.storage.atomic_write import write_bytes

        write_bytes(self.path, content, self.overwrite)
        self.overwrite = True  # from now on it is ours

    def picture(self, scan: Path, vertices: FloatArray, faces: IntArray | None) -> str:
        """A thumbnail of the mesh of a scan; "" where there are no faces."""
        from lpdif.report.pictures import thumbnail

        return "" if faces is None else thumbnail(vertices, faces, up_axis(self.up, scan))

    def run(self) -> Run:
        """What the report says of the run."""
        from lpdif.report.page import Run, Setting

        chosen, origins = self.settings.config, self.settings.origins
        values = {f"{self.stage}.{name}": value for name, value in dataclasses.asdict(getattr(chosen, self.stage)).items()}
        if self.stage == "reconstruct":
            values |= {f"output.{name}": value for name, value in dataclasses.asdict(chosen.output).items()}
        values |= {name: getattr(chosen, name) for name in EVERYWHERE}
        rows = [Setting(key.rpartition(".")[2], show_value(value), origins.get(key, "")) for key, value in values.items()]
        if "seed" in origins:
            rows = [row._replace(origin=origins["seed"]) if row.name == "seed" else row for row in rows]
        given = [Setting(name, value, "this run") for name, value in self.inputs().items()]
        now = datetime.datetime.now().astimezone()
        return Run(
            command_line(*self.console.arguments),
            f"lpdif {lpdif.__version__}, {now:%Y-%m-%d %H:%M} (UTC{now:%z})",
            self.console.elapsed(),
            self.settings.seed,
            versions(),
            [*given, *rows],
        )


def report_file(
    given: str | None,
    overwrite: bool,
    console: Console,
    settings: Settings,
    stage: str,
    inputs: Callable[[], Mapping[str, str]] = dict,
    up: str | None = None,
) -> ReportFile | None:
    """The file that --report names; None where it was not given. Everything the run tells is kept for it, even with -q."""
    up_axis(up, None)
    if given is None:
        return None
    if not given.lower().endswith(ENDING):
        raise UsageError(f"--report {given}: a report is a page of HTML", f"let the name end in {ENDING}")
    log.setLevel(min(log.level, logging.INFO))
    return ReportFile(Path(given), overwrite, console, settings, stage, inputs, up)


def is_report(path: Path) -> bool:
    """Whether a file is a report that lpdif has written."""
    from lpdif.report.page import MARK

    try:
        with open_regular(path) as file:
            return file.read(len(MARK)) == MARK.encode()
    except (FileNotFoundError, NotADirectoryError, PermissionError, RefusedFile):  # writing it gives the reason
        return False


def versions() -> list[tuple[str, str]]:
    """The versions of lpdif, of Python and its machine, and of the packages whose versions can move a result."""
    found = [("lpdif", lpdif.__version__), ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    return found


def write_scan_report(page: ReportFile, source: Path | None, scan: lpdif.Scan, made: lpdif.Reconstruction, output: str, laps: Laps) -> None:
    """Writes the report of one reconstruction. source: the file of the scan, None for stdin; laps: of the whole run."""
    from lpdif.report.scan_report import MeshedScan, scan_report

    laps.end("writing the mesh")
    about = MeshedScan(
        scan.name, output, scan.points, made.mesh, *made.used, made.facts, page.console.told, laps.done, up_axis(page.up, source)
    )
    page.write(scan_report(page.run(), about))


def batch_page(page: ReportFile, folder: Path, outcomes: Sequence[Outcome], skipped: Sequence[Skipped], waiting: Sequence[Job] = ()) -> bytes:
    """The report of a batch into `folder`; waiting: what is still to be made.

    Meshes that an earlier run has made are read once more, for their pictures.
    """
    from lpdif.report.batch_report import BatchRow, batch_report

    rows: list[BatchRow] = []
    kept = sum(outcome.state == "kept" for outcome in outcomes)
    for outcome in outcomes:
        if outcome.state == "kept" and not outcome.picture:
            mesh = lpdif.load_scan(outcome.output)
            outcome.picture = page.picture(outcome.scan, mesh.points, mesh.faces)
            page.console.progress("pictures of kept meshes", sum(row.state == "kept" for row in rows) + 1, kept)
        told, failure = outcome.told, outcome.failure
        error = ""
        if failure is not None:
            error = failure.message.removeprefix(f"{outcome.scan.name}: ") + (f" ({failure.hint})" if failure.hint else "")
        seconds = (outcome.seconds or None) if failure else told.get("seconds")  # a scan that failed at once was not tried
        row = BatchRow(
            str(outcome.scan),
            str(outcome.output),
            outcome.state,
            outcome.picture,
            points=told.get("points"),
            faces=told.get("faces"),
            open_loops=told.get("open_loops"),
            noise=told.get("noise"),
            seconds=seconds,
            warnings=told.get("warnings", ()),
            error=error,
        )
        rows.append(row)
    rows += [BatchRow(str(scan), str(target), "waiting") for scan, target in waiting]
    of_scans = {text for row in rows for text in row.warnings} | {failure_line(outcome) for outcome in outcomes}
    general = [message.text for message in page.console.told if message.warning and message.text not in of_scans]
    left = [(str(file), reason) for file, reason in skipped]
    return batch_report(page.run(), str(folder), sorted(rows, key=lambda row: Path(row.scan)), left, general)


def write_fit_report(page: ReportFile, place: lpdif.Workspace, plan: FitConfig, done: FitReport, device: str) -> None:
    """Writes the report of a fit, from its result and what it has left in its workspace."""
    from lpdif.report.fit_report import FittedModel, fit_report
    from lpdif.stages.cluster import describe_patterns
    from lpdif.storage.run_log import read_metrics

    shared = plan.shared_steps if plan.start == FRESH else 0  # a model that is there has been through the shared stage
    shards = place.read_manifest().kept
    rows, gallery = describe_patterns(place.root, device, place.samples_root)
    try:
        recorded = read_metrics(place.metrics, place.root)
    except (OSError, ValueError) as error:
        page.console.warn(f"{place.metrics}: not the log of a fit ({error}); the report has no curves")
        recorded = []
    fitted = FittedModel(
        model=str(done.model),
        patterns=done.patterns,
        steps=done.steps,
        shared_steps=shared,
        steps_in_all=shared + plan.pattern_steps,
        validation=done.validation,
        scans=len(shards),
        regions=sum(shard.regions for shard in shards),
        rows=recorded,
        table=[dataclasses.asdict(row) for row in rows],
        gallery=gallery,
        messages=[message for message in page.console.told if not message.text.startswith("step ")],  # the curves tell these
    )
    page.write(fit_report(page.run(), fitted))
