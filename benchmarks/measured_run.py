"""Runs a command, and writes its wall and CPU seconds, peak memory and exit status to a file as JSON.

    python -S benchmarks/measured_run.py REPORT COMMAND...

A process of its own, and a small one: Linux counts what the parent held at the fork into the peak memory of the child, so a command
started by a program that holds meshes would seem to need as much. What the command prints goes where ours would.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    report, *command = sys.argv[1:]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    found = {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss * unit / 2**20, "code": process.returncode}
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be one more thing to load
        json.dump(found, file)


if __name__ == "__main__":
    main()
