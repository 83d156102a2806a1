"""`lpdif reconstruct scan.ply --cluster`: the pieces of one scan, made by real workers, which are killed, poisoned and left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, process_environment, process_words, run_apart
from shapes import even_sphere_points

import lpdif
from lpdif.stages import piece_work
from lpdif_cli import dask_worker

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

from dask_processes import PIECES, DaskProcesses, dask_processes, tasks_left, wait_for  # noqa: E402

ONE = ("reconstruct", "scan.ply", "-o", "mesh.ply")
needs_kill = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture
def inside() -> Iterator[str]:
    """The address of a cluster whose one worker is in this process."""
    dask_worker.load_model.cache_clear()  # of a stand-in, where other tests have worked in this process
    with distributed.LocalCluster(1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def write_ball(folder: Path, count: int) -> None:
    lpdif.write_scan(folder / "scan.ply", lpdif.Scan(*even_sphere_points(count)))


def start(folder: Path, cluster: DaskProcesses) -> subprocess.Popen[str]:
    words = process_words([*ONE, "--cluster", cluster.address, "--model", "bundled"])
    return subprocess.Popen(words, cwd=folder, env=process_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_scan_in_pieces_is_that_made_alone(cli: Cli, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_work, "PIECES", piece_work.PIECES._replace(fewest=300, most=300))
    write_ball(tmp_path, 400)
    ran = cli(*ONE, "--cluster", inside, "--json")
    assert ran.code == 0, ran.lines
    assert any("pieces of " in line and line.endswith("made by others") for line in ran.lines)
    assert cli("reconstruct", "scan.ply", "-o", "alone.ply").code == 0
    assert (tmp_path / "mesh.ply").read_bytes() == (tmp_path / "alone.ply").read_bytes()


def test_a_scan_that_is_no_good_is_told_before_the_cluster_is_asked(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "scan.ply").write_text("ply\n")
    assert cli(*ONE, "--cluster", "tcp://127.0.0.1:1").code == 3


def test_what_goes_wrong_with_a_piece_ends_the_scan(cli: Cli, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise lpdif.errors.ResourceError("the GPU has no room", "give it a rest")

    monkeypatch.setattr(piece_work, "surface_of", fails)
    write_ball(tmp_path, 400)
    ran = cli(*ONE, "--cluster", inside)
    assert ran.code == 5
    assert ran.lines[-2].startswith("error: a piece of the scan: the GPU has no room (on ")
    assert ran.lines[-1] == "  hint: give it a rest"
    assert not (tmp_path / "mesh.ply").exists()


@pytest.mark.slow
@needs_kill
def test_a_killed_worker_is_made_up_for(tmp_path: Path) -> None:
    """Two workers; the one that has the first piece is killed, and its nanny too."""
    write_ball(tmp_path, 12_000)
    with dask_processes(tmp_path / "dask", stand_in=PIECES, more="first and time.sleep(600)") as cluster:
        running = start(tmp_path, cluster)
        wait_for(lambda: cluster.tries("piece"))
        worker, nanny = cluster.tries("piece")[0]
        for process in (nanny, worker):
            os.kill(process, signal.SIGKILL)
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0, err
        assert out == "mesh.ply\n"
        tries = cluster.tries("piece")
    assert len({process for process, _ in tries}) == 2
    assert len(tries) > 3
    assert run_apart(["reconstruct", "scan.ply", "-o", "alone.ply"], cwd=tmp_path).returncode == 0
    assert (tmp_path / "mesh.ply").read_bytes() == (tmp_path / "alone.ply").read_bytes()


@pytest.mark.slow
@needs_kill
def test_a_piece_that_ends_its_workers_ends_the_scan(tmp_path: Path) -> None:
    write_ball(tmp_path, 12_000)
    with dask_processes(tmp_path / "dask", stand_in=PIECES, more="os.kill(os.getpid(), signal.SIGKILL)") as cluster:
        running = start(tmp_path, cluster)
        err = running.communicate(timeout=120)[1]
    assert running.returncode == 5, err
    assert err.splitlines()[-2:] == [
        "error: a piece of the scan: 3 workers ended while at work on it",
        "  hint: memory may be short there: have fewer workers a machine",
    ]
    assert not (tmp_path / "mesh.ply").exists()


@pytest.mark.slow
@needs_kill
@pytest.mark.parametrize("number", [None, signal.SIGINT], ids=["the scheduler is killed", "Ctrl-C"])
def test_what_ends_the_run_leaves_nothing(tmp_path: Path, number: signal.Signals | None) -> None:
    write_ball(tmp_path, 12_000)
    with dask_processes(tmp_path / "dask", stand_in=PIECES, more="time.sleep(2)") as cluster:
        running = start(tmp_path, cluster)
        wait_for(lambda: cluster.tries("piece"))
        if number is None:
            cluster.scheduler.kill()
        else:
            running.send_signal(number)
        began = time.monotonic()
        err = running.communicate(timeout=60)[1]
        assert time.monotonic() - began < 20
        if number is not None:
            with distributed.Client(cluster.address, set_as_default=False) as client:
                wait_for(lambda: client.run_on_scheduler(tasks_left) == 0, 20)
    assert running.returncode == (5 if number is None else 130), err
    assert "Traceback" not in err
    end = " is gone, or has dropped the work" if number is None else "error: stopped by SIGINT"
    assert [line for line in err.splitlines() if line.startswith("error: ")][-1].endswith(end)
    assert not (tmp_path / "mesh.ply").exists()
