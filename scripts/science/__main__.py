"""Runs the experiments of docs/science.md, and writes that page from their results.

usage: scripts/science [--binaries DIR] [--directory DIR] run [NAME...]
       scripts/science page | check | list

run    trains what has no result in docs/science yet, or the runs that are named (a name is a run's, or the beginning of names).
       Ctrl-C, kill -9 and a power cut lose at most what was not on the disk: the same command goes on.
page   writes docs/science.md and its plots from docs/science/*.json.
check  says whether they are what the JSONs give.
list   shows every run and whether it is done.
"""
import argparse
import fcntl
import os
import pathlib
import signal
import sys
import time

import page
from cluster import Failure
from plan import ORDER
from training import ROOT, perform, result_path


def chosen(names):
    """The runs that are named, done or not; without names those that are not done."""
    if not names:
        return [run for run in ORDER if not result_path(run).exists()]
    runs = []
    for name in names:
        exact = [run for run in ORDER if run.name == name]
        found = exact or [run for run in ORDER if run.name.startswith(name)]
        if not found:
            sys.exit(f"science: no run is named {name}; `scripts/science list` shows all")
        # One that is named in full is repeated.
        runs += [run for run in found if run not in runs and (exact or not result_path(run).exists())]
    return runs


def run(arguments):
    # As Ctrl-C does, so that no process is left: somebody ends the session, or closes the terminal.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    os.chdir(ROOT)
    work = (ROOT / arguments.directory).resolve()
    if ROOT not in work.parents:
        sys.exit(f"science: {work} is not inside {ROOT}")
    work.mkdir(parents=True, exist_ok=True)
    binaries = pathlib.Path(arguments.binaries).resolve()
    with open(work / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("science: another one is running")
        runs = chosen(arguments.names)
        for number, one in enumerate(runs):
            def say(text):
                print(f"{time.strftime('%H:%M:%S')} {number + 1}/{len(runs)} {one.name}: {text}", flush=True)
            say(f"{one.variant}, seed {one.seed}")
            perform(one, work, binaries, say)
            page.write()
            say(f"done: {result_path(one).relative_to(ROOT)}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--binaries", default=str(ROOT / ".build" / "release"))
    parser.add_argument("--directory", default="science")
    parser.add_argument("command", choices=["run", "page", "check", "list"])
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "run":
        try:
            run(arguments)
        except KeyboardInterrupt:
            sys.exit("science: interrupted; the same command goes on")
        except Failure as failure:
            sys.exit(f"science: {failure}")
    elif arguments.command == "page":
        page.write()
    elif arguments.command == "check":
        if wrong := page.differences():
            sys.exit(f"science: {', '.join(wrong)}: not what docs/science/*.json give; run `make science-page`")
    else:
        for one in ORDER:
            print(f"{'done' if result_path(one).exists() else 'open'}  {one.hours:5.2f} h  {one.name}  ({one.variant})")


main()
