"""What a run of `lpdif reconstruct` works with: its settings, its model, and what it asks of the library."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import lpdif
from lpdif.errors import ModelError
from lpdif.storage.safe_open import leads_outside
from lpdif.storage.workspace import BUNDLED, BUNDLED_MODEL
from lpdif.text import counted
from lpdif.tools.laps import Laps
from lpdif_cli.cards import read_fit_state
from lpdif_cli.console import Console
from lpdif_cli.dask_client import order
from lpdif_cli.dask_pieces import pieces_over
from lpdif_cli.dask_worker import Order
from lpdif_cli.records import Recipe, recipe
from lpdif_cli.settings import Settings


@dataclass
class Work:
    """Reconstructs scans with one model, which is loaded after the first scan has been read."""

    settings: Settings
    console: Console
    laps: Laps = field(default_factory=Laps)
    _model: lpdif.Model | None = None

    def mesh_of(self, scan: lpdif.Scan, cluster: str | None = None) -> lpdif.Reconstruction:
        """The reconstruction of a scan. cluster: the address of one whose workers make its pieces, on their devices."""
        scan = self.stored(scan)
        if self._model is None:
            self.check(scan)
        with nullcontext() if cluster is None else pieces_over(cluster, self.order, self.console) as spread:
            if self._model is None:
                self._model = lpdif.load_model(self.model_path)
            self.laps.end("loading the model")
            chosen = self.settings.config
            return lpdif.reconstruct(
                scan,
                self._model,
                chosen.reconstruct,
                device=chosen.device if spread is None else "cpu",
                threads=chosen.threads,
                progress=self.console.progress,
                spread=spread,
            )

    def expected(self, scan: lpdif.Scan) -> dict[str, float | int | str]:
        """The expected size and cost of a reconstruction.

        Raises the errors that it would raise before it begins.
        """
        scan = self.stored(scan)
        self.check(scan)
        lpdif.load_model(self.model_path)
        return lpdif.expect(scan, self.settings.config.reconstruct, self.settings.config.threads)

    def stored(self, scan: lpdif.Scan) -> lpdif.Scan:
        """The scan; its arrays on disk, for as long as it is used, where so many points leave memory little room for them.

        Raises ResourceError where the disk has none either.
        """
        from lpdif.stages.cost import leaves_little_room

        limit = self.settings.config.reconstruct.max_memory
        if scan.faces is not None or not leaves_little_room(len(scan.points), scan.normals is not None, limit):
            return scan
        from lpdif.memory import on_disk

        return replace(
            scan,
            points=on_disk(scan.points),
            normals=None if scan.normals is None else on_disk(scan.normals),
            colors=None if scan.colors is None else on_disk(scan.colors),
            sensor=None if scan.sensor is None else on_disk(scan.sensor),
            extras={name: on_disk(values) for name, values in scan.extras.items()},
        )

    def price(self, scan: lpdif.Scan) -> dict[str, float]:
        """About what the mesh of a scan takes: faces, cpu_seconds and memory_bytes. Raises as `expected` does.

        From the number of points alone, unless sizes are given.
        """
        from lpdif.stages.resolution import cost_of_points

        chosen = self.settings.config.reconstruct
        scan = self.check(scan)
        if chosen.resolution is not None or chosen.region_size is not None:
            found = self.expected(scan)
            return {name: float(found[name]) for name in ("faces", "cpu_seconds", "memory_bytes")}
        cost = cost_of_points(len(scan.points), chosen.watertight)
        memory = min(cost.memory, chosen.max_memory or cost.memory)  # in pieces
        return {"faces": min(cost.faces, chosen.faces or cost.faces), "cpu_seconds": cost.seconds, "memory_bytes": memory}

    def check(self, scan: lpdif.Scan) -> lpdif.Scan:
        """What of a scan a mesh is made of: the points of the chosen classes.

        Raises InputError for a scan that cannot become what is asked for, before torch is loaded.
        """
        from lpdif.points.classes import of_classes
        from lpdif.points.validity import check_scan

        chosen = self.settings.config.reconstruct
        scan = of_classes(scan, chosen.classes)
        check_scan(scan, chosen.keep_outliers, chosen.region_size is not None)
        if chosen.texture is not None:
            from lpdif.mesh.unwrap import check_texture  # which loads scipy

            check_texture(scan, chosen.texture)
        return scan

    def order(self) -> Order:
        """What a worker of a cluster needs besides a scan."""
        return order(self.model_path, self.settings.config)

    def recipe(self) -> Recipe:
        """What the meshes of this run depend on besides their scans."""
        chosen = self.settings.config
        return recipe(chosen.reconstruct, chosen.output, self.model_path or BUNDLED_MODEL)

    def encoded(self, mesh: lpdif.Mesh, kind: str) -> bytes:
        """The bytes of a mesh file in this format, in the units and the scale that are asked for."""
        return lpdif.encode_mesh(mesh, kind, **asdict(self.settings.config.output))

    @cached_property
    def model_path(self) -> Path | None:
        """The model file to use; None for the bundled one.

        The model of the workspace comes first, with a message.
        """
        if self.settings.model == BUNDLED:
            return None
        if self.settings.model is not None:
            return named_model(Path(self.settings.model))
        workspace = lpdif.Workspace(self.settings.config.workspace)
        fitted = workspace.model
        if not fitted.exists():
            if self.settings.origins.get("workspace") == "--workspace":
                raise ModelError(f"{fitted}: no model in this workspace", f"fit one: lpdif fit; or pass --model {BUNDLED}")
            if workspace.snapshot.exists():
                unfinished = f"the fit in {workspace.root} is not finished (lpdif fit --resume)"
                self.console.say(f"model: the one that ships with lpdif; {unfinished}")
            return None
        if leads_outside(fitted, fitted.parent):
            raise ModelError(f"{fitted}: a link that leads out of the workspace", "name the model itself: --model FILE")
        self.console.say(f"model: {fitted}, fitted in this workspace (--model {BUNDLED} takes the one that ships with lpdif)")
        self.tell_of_newer_fit(workspace)
        return fitted

    def tell_of_newer_fit(self, workspace: lpdif.Workspace) -> None:
        """Says where the model of a workspace is not the one that its latest fit is to make."""
        if not workspace.snapshot.exists():
            return
        try:
            state = read_fit_state(workspace.snapshot, workspace.root)
        except ModelError as error:  # the model stands by itself
            self.console.warn(f"{error.message}; the model beside it is used")
            return
        if state.step < state.steps:
            done = f"{state.step:,} of {counted(state.steps, 'step')}"
            self.console.say(f"a newer fit in {workspace.root} is not finished ({done}): lpdif fit --resume makes its model")


def named_model(path: Path) -> Path:
    """A model file that was named. Raises ModelError where its name says that it is a scan or a mesh."""
    from lpdif.io.registry import format_by_name

    known = format_by_name(path.name)
    if known is not None:
        raise ModelError(
            f"{path}: its name stands for {known.title}, not for a model", "name a model that `lpdif fit` wrote, model.safetensors"
        )
    return path
