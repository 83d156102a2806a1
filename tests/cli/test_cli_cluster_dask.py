"""`lpdif reconstruct --cluster`: scans spread over real workers, which are killed, poisoned and left alone."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Library, write_points
from conftest import Cli, process_environment, process_words, run_apart
from pages import Page

import lpdif
from lpdif_cli import dask_client

distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")

from dask_processes import DaskProcesses, dask_processes, tasks_left, wait_for  # noqa: E402

BATCH = ("reconstruct", "scans", "-o", "out")
needs_kill = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskProcesses]:
    """A scheduler and two workers, whose `reconstruct` is a stand-in."""
    with dask_processes(tmp_path / "dask") as started:
        yield started


def write_scans(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        write_points(folder / "scans" / f"{name}.ply", 50 + number)


def made(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "out").glob("*.ply")}


def failures(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "out/failed.jsonl").read_text().splitlines()]
    return {Path(row["input"]).stem: row["error"] for row in rows}


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """The record of a folder of meshes, without the time that each has taken."""
    rows: dict[str, dict[str, Any]] = json.loads((folder / "made.json").read_text())["meshes"]
    for row in rows.values():
        assert row["told"].pop("seconds") >= 0
    return rows


def run(folder: Path, cluster: DaskProcesses, *more: str) -> subprocess.CompletedProcess[str]:
    return run_apart([*BATCH, "--cluster", str(cluster.file), *more], cwd=folder, timeout=120)


def start(folder: Path, cluster: DaskProcesses) -> subprocess.Popen[str]:
    words = process_words([*BATCH, "--cluster", cluster.address])
    return subprocess.Popen(words, cwd=folder, env=process_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- in this process


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster whose worker is a thread of this process."""
    library = Library()
    library.install(monkeypatch)
    with distributed.LocalCluster(1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def test_scans_go_out_and_meshes_come_back(cli: Cli, inside: str, tmp_path: Path) -> None:
    write_scans(tmp_path, "a", "b", "c")
    (tmp_path / "scans/broken.ply").write_text("ply\n")
    ran = cli(*BATCH, "--cluster", inside, "--json")
    assert ran.code == 7
    assert [(Path(row["input"]).stem, row["state"]) for row in ran.document["scans"]] == [
        ("a", "done"), ("b", "done"), ("broken", "failed"), ("c", "done"),
    ]  # fmt: skip
    assert not [line for line in ran.lines if "distributed" in line]
    assert set(failures(tmp_path)) == {"broken"}
    assert cli("reconstruct", "scans", "-o", "alone").code == 7
    for name in ("a", "b", "c"):
        assert (tmp_path / f"out/{name}.ply").read_bytes() == (tmp_path / f"alone/{name}.ply").read_bytes()
    assert recorded(tmp_path / "out") == recorded(tmp_path / "alone")
    (tmp_path / "scans/broken.ply").unlink()
    ran = cli(*BATCH, "--cluster", "tcp://127.0.0.1:1")  # nothing is left to do, so none is asked
    assert (ran.code, ran.lines[0]) == (0, "3 of 3 scans done already and kept; --overwrite does it all again")


def test_units_and_scale_count_on_the_workers_too(cli: Cli, inside: str, tmp_path: Path) -> None:
    write_scans(tmp_path, "a", "b")
    assert cli(*BATCH, "--cluster", inside, "--scale", "1000").code == 0
    assert cli("reconstruct", "scans", "-o", "alone", "--scale", "1000").code == 0
    assert (tmp_path / "out/a.ply").read_bytes() == (tmp_path / "alone/a.ply").read_bytes()
    assert lpdif.load_scan(tmp_path / "out/a.ply").points.max() == 1000
    assert cli(*BATCH, "--cluster", inside, "--scale", "1000").lines[0].startswith("2 of 2 scans done already")


def test_the_report_is_that_of_a_batch_made_alone(cli: Cli, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a picture of each mesh, its figures, and its warnings beside it, also where a later run keeps it."""
    library = Library()
    library.made.facts |= {"points": 50, "noise": 0.01, "spacing": 0.04, "open_loops": 2}
    library.install(monkeypatch)
    reconstruct = library.reconstruct

    def warns(scan: lpdif.Scan, *rest: Any, **more: Any) -> lpdif.Reconstruction:
        if scan.name == "b.ply":
            logging.getLogger("lpdif").warning("b.ply: it is thin")
        return reconstruct(scan, *rest, **more)

    monkeypatch.setitem(vars(lpdif), "reconstruct", warns)
    write_scans(tmp_path, "a", "b")
    (tmp_path / "scans/broken.ply").write_text("ply\n")
    shown = []
    for out, *more in (["alone"], ["out", "--cluster", inside], ["out"]):
        assert cli("reconstruct", "scans", "-o", out, "--report", "page.html", "-q", *more).code == 7
        page = Page((tmp_path / "page.html").read_bytes())
        page.check_stands_alone()
        rows = [cells for cells in page.cells if len(cells) == 9 and ".ply" in cells[1]]
        assert [cells[2:7] for cells in rows[:2]] == [[rows[0][2], "50", "4", "2", "0.25"]] * 2
        assert [rows[0][8], rows[1][8].removeprefix("scans/")] == ["", "b.ply: it is thin"]
        assert [about["class"] for tag, about in page.elements if tag == "div" and (about.get("class") or "").startswith("warnings")] == [
            "warnings failures"
        ]  # no warning is told twice
        shown.append((rows[0][2], [drawn.tobytes() for drawn in page.pictures], rows[2][2:7]))
    assert [state for state, *_ in shown] == ["done", "done", "kept"]
    assert len(shown[0][1]) == 2
    assert shown[0][1:] == shown[1][1:] == shown[2][1:]


# --- what is told before the work


def test_without_dask_it_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_scans(tmp_path, "a", "b")
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = cli(*BATCH, "--cluster", "tcp://127.0.0.1:8786")
    assert ran.code == 2
    assert ran.lines[-2:] == [
        "error: --cluster needs Dask, which is not installed",
        '  hint: pip install "lpdif[cluster]", on every machine',
    ]


@pytest.mark.parametrize("silent", [False, True], ids=["nobody listens", "what listens is silent"])
def test_an_unreachable_scheduler_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, silent: bool) -> None:
    assert dask_client.CLUSTER.connect < 30
    monkeypatch.setattr(dask_client, "CLUSTER", dask_client.CLUSTER._replace(connect=1.0))
    write_scans(tmp_path, "a", "b")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        ran = cli(*BATCH, "--cluster", address)
        assert time.monotonic() - began < 10
    assert ran.code == 5
    assert ran.lines[-2].startswith(f"error: no Dask scheduler at {address}: ")
    assert ran.lines[-1] == f"  hint: {dask_client.START_HINT}"
    assert len(ran.lines) == 2


@pytest.mark.parametrize(
    ("content", "code", "why"),
    [(None, 2, "cannot be read"), ("{", 3, "not the file of a scheduler"), ('{"address": 3}', 3, "not the file of a scheduler")],
)
def test_a_scheduler_file_that_is_none(cli: Cli, tmp_path: Path, content: str | None, code: int, why: str) -> None:
    write_scans(tmp_path, "a", "b")
    if content is not None:
        (tmp_path / "scheduler.json").write_text(content)
    ran = cli(*BATCH, "--cluster", "scheduler.json")
    assert ran.code == code
    assert ran.lines[-2].startswith(f"error: scheduler.json: {why}")


@pytest.mark.parametrize(("address", "why"), [("somewhere", "missing port number"), ("http://a:1", "unknown address scheme")])
def test_an_address_that_is_none(cli: Cli, tmp_path: Path, address: str, why: str) -> None:
    write_scans(tmp_path, "a", "b")
    ran = cli(*BATCH, "--cluster", address)
    assert (ran.code, len(ran.lines)) == (2, 2)
    assert ran.lines[0].startswith(f"error: --cluster: '{address}' is no address ({why}")


def test_an_encrypted_scheduler_needs_a_certificate(cli: Cli, tmp_path: Path) -> None:
    write_scans(tmp_path, "a", "b")
    ran = cli(*BATCH, "--cluster", "tls://127.0.0.1:8786")
    assert (ran.code, ran.lines[0]) == (2, "error: --cluster: tls://127.0.0.1:8786 needs a certificate, and Dask knows of none")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('lpdif.__version__ = "0.0.9"', "lpdif 0.0.9 on Python "),
        ("import platform; platform.python_version_tuple = lambda: ('3', '99', '0')", " on Python 3.99 is installed on tcp://"),
        ("import sys; sys.modules['lpdif_cli.dask_worker'] = None", " is needed on tcp://"),
    ],
)
def test_other_versions_are_named(tmp_path: Path, more: str, what: str) -> None:
    write_scans(tmp_path, "a", "b")
    with dask_processes(tmp_path / "dask", workers=0) as cluster:
        cluster.start_worker(more)
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        ran = run(tmp_path, cluster)
    assert ran.returncode == 5, ran.stderr
    error, hint = ran.stderr.splitlines()
    assert what in error
    assert f"lpdif {dask_client.lpdif.__version__} on Python {sys.version_info[0]}.{sys.version_info[1]}" in error
    assert hint == "  hint: install the same versions on every machine"
    assert made(tmp_path) == set()


# --- what happens during it


@pytest.mark.slow
def test_meshes_are_those_made_alone(tmp_path: Path) -> None:
    """By a model of one's own, which travels with the scans."""
    import torch
    from shapes import even_sphere_points, plain_patterns

    from lpdif.core.model import Model, make_networks
    from lpdif.storage.models import save_model

    (tmp_path / "scans").mkdir()
    for number in range(3):
        lpdif.write_scan(tmp_path / f"scans/{number}.ply", lpdif.Scan(*even_sphere_points(300 + 50 * number)))
    save_model(tmp_path / "own.safetensors", Model(make_networks(6, 8, 0), plain_patterns(torch.zeros(1, 1), 16), {}))
    with dask_processes(tmp_path / "dask", stand_in="") as cluster:
        for model in ("bundled", "own.safetensors"):
            assert run_apart(["reconstruct", "scans", "-o", "alone", "--model", model, "--overwrite"], cwd=tmp_path).returncode == 0
            ran = run(tmp_path, cluster, "--model", model, "--overwrite")
            assert ran.returncode == 0, ran.stderr
            assert ran.stdout.splitlines() == [f"out/{number}.ply" for number in range(3)]
            for number in range(3):
                assert (tmp_path / f"out/{number}.ply").read_bytes() == (tmp_path / f"alone/{number}.ply").read_bytes()
    assert recorded(tmp_path / "out") == recorded(tmp_path / "alone")


@pytest.mark.slow
@needs_kill
def test_a_poison_scan_fails_alone(tmp_path: Path, cluster: DaskProcesses) -> None:
    write_scans(tmp_path, "a", "bad", "bug", "c", "d", "poison", "q", "r")
    ran = run(tmp_path, cluster)
    assert ran.returncode == 7, ran.stderr
    assert made(tmp_path) == {"a", "c", "d", "q", "r"}
    found = failures(tmp_path)
    assert {name: (error["message"], error["exit_code"]) for name, error in found.items()} == {
        "bad": ("bad.ply: no surface found", 3),
        "bug": ("internal: ZeroDivisionError: of the test", 1),
        "poison": ("3 workers ended while at work on it", 5),
    }
    assert len(cluster.tries("poison.ply")) == 3
    assert "distributed" not in ran.stderr


@pytest.mark.slow
@needs_kill
@pytest.mark.parametrize("victim", ["worker", "nanny"])
def test_a_killed_worker_is_made_up_for(tmp_path: Path, cluster: DaskProcesses, victim: str) -> None:
    """Its scan goes to another one; with its nanny dead too, all others do."""
    write_scans(tmp_path, "a", "b", "c", "d", "once")
    running = start(tmp_path, cluster)
    wait_for(lambda: cluster.tries("once.ply"))
    worker, nanny = cluster.tries("once.ply")[0]
    if victim == "nanny":
        os.kill(nanny, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert (made(tmp_path), len(out.splitlines())) == ({"a", "b", "c", "d", "once"}, 5)
    assert len(cluster.tries("once.ply")) == 2


@pytest.mark.slow
@needs_kill
def test_a_scheduler_that_goes_away_ends_the_run(tmp_path: Path, cluster: DaskProcesses) -> None:
    write_scans(tmp_path, "a", "b", "c", "once")
    running = start(tmp_path, cluster)
    wait_for(lambda: len(made(tmp_path)) == 3)
    cluster.scheduler.kill()
    began = time.monotonic()
    err = running.communicate(timeout=60)[1]
    assert time.monotonic() - began < 15
    assert running.returncode == 5, err
    assert err.splitlines()[-1] == f"  hint: {dask_client.AGAIN_HINT}"
    assert err.splitlines()[-2].endswith(" is gone, or has dropped the work")
    assert "Traceback" not in err
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()
    ran = run(tmp_path, cluster)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("3 of 4 scans done already and kept")
    assert made(tmp_path) == {"a", "b", "c", "once"}


@pytest.mark.slow
@needs_kill
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_client_that_ends_takes_its_tasks_with_it(tmp_path: Path, cluster: DaskProcesses, number: signal.Signals, code: int) -> None:
    """What is at work is finished by its worker and dropped; a second run makes what is missing, and those alone."""
    write_scans(tmp_path, "a", "slow1", "slow2", "slow3", "slow4", "slow5", "slow6")
    running = start(tmp_path, cluster)
    wait_for(lambda: len(made(tmp_path)) >= 2)
    running.send_signal(number)
    err = running.communicate(timeout=30)[1]
    assert running.returncode == code, err
    if code == 130:
        assert err.splitlines()[-2:] == ["error: stopped by SIGINT", "  hint: run the same command again: scans that are done are skipped"]
    kept = made(tmp_path)
    with distributed.Client(cluster.address, set_as_default=False) as client:
        wait_for(lambda: client.run_on_scheduler(tasks_left) == 0, 10)
    assert len(list(cluster.begun.iterdir())) < 7
    ran = run(tmp_path, cluster)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith(f"{len(kept)} of 7 scans done already and kept")
    assert len(made(tmp_path)) == 7


@pytest.mark.slow
def test_workers_may_come_late(tmp_path: Path) -> None:
    write_scans(tmp_path, "a", "b")
    with dask_processes(tmp_path / "dask", workers=0) as cluster:
        late = threading.Timer(3, cluster.start_worker)
        late.start()
        ran = run(tmp_path, cluster)
        late.join()
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.startswith(f"{cluster.address} has no worker yet: dask worker {cluster.address}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('lpdif.__version__ = "0.0.9"', "error: lpdif 0.0.9 on Python "),
        (
            "import lpdif_cli.dask_worker as w; w.known_content = lambda path: 'other'",
            "error: the model that ships with lpdif is another one on ",
        ),
    ],
)
def test_a_wrong_worker_that_comes_late_ends_the_run(tmp_path: Path, more: str, what: str) -> None:
    write_scans(tmp_path, *(f"slow{number:02}" for number in range(30)))
    with dask_processes(tmp_path / "dask", workers=1) as cluster:
        running = start(tmp_path, cluster)
        wait_for(lambda: made(tmp_path))
        cluster.start_worker(more)
        err = running.communicate(timeout=60)[1]
    assert running.returncode == 5, err
    assert err.splitlines()[-2].startswith(what)
    assert err.splitlines()[-1].startswith("  hint: install the same ")
    assert 1 <= len(made(tmp_path)) < 30


@pytest.mark.slow
def test_a_worker_without_lpdif_that_comes_late_does_no_harm(tmp_path: Path) -> None:
    """Dask ends such a worker at its first task, which goes to another one."""
    write_scans(tmp_path, *(f"slow{number:02}" for number in range(30)))
    with dask_processes(tmp_path / "dask", workers=1) as cluster:
        running = start(tmp_path, cluster)
        wait_for(lambda: made(tmp_path))
        late = cluster.start_worker("import sys; sys.modules['lpdif_cli.dask_worker'] = None")
        err = running.communicate(timeout=100)[1]
        assert late.wait(60) is not None
    assert running.returncode == 0, err
    assert len(made(tmp_path)) == 30
