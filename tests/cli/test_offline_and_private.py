"""A whole sweep and its report use no network, and what they write names neither user nor host nor their folders."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_sweeps import draw

from benchmark.store import Store

ROOT = Path(__file__).parents[2]
USER, HOST, HOME, PLACE, VALUE = (f"marker-{name}-7" for name in ("user", "host", "home", "place", "value"))
SITE = f'''
"""Loaded by every process of Python that the test starts: no sockets, and another host's name."""
import os
import platform
import socket

LOG = os.environ["SOCKET_LOG"]


def refuse(*arguments, **options):
    with open(LOG, "a") as file:
        file.write(repr(arguments[1:]) + "\\n")
    raise OSError("the test has no network")


class Refused(socket.socket):
    __init__ = refuse


socket.socket = Refused
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
socket.gethostname = platform.node = lambda: "{HOST}.example.org"
true = os.uname()
os.uname = lambda: os.uname_result((true.sysname, "{HOST}", true.release, true.version, true.machine))
'''
PLUGIN = '''
"""Fails with a message that names everything."""
import getpass, socket, os
from pathlib import Path
from methods import Method, register

HERE = Path(__file__)


def fail():
    places = [HERE.with_name("table.csv"), Path.home() / "cache" / "x.bin", Path("rest.txt").absolute()]
    raise RuntimeError(f"{getpass.getuser()}@{socket.gethostname()}: no {places[0]}, '{places[1]}' or {places[2]}")


@register("breaks")
class Breaks(Method):
    def loss(self, s, t, batch):
        fail()


@register("dies")
class Dies(Method):
    def __init__(self, student, teacher):
        super().__init__()

    def prepare(self, student, teacher, sweep):
        open(HERE.parent / "folder with spaces" / "table.csv")
'''
HURRY = """
import pytest
from benchmark.cli import app
from small_sweeps import hurry
hurry(pytest.MonkeyPatch())
app.main()
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """What is left of a sweep and of a report, made in an environment whose every name is a marker."""
    place = tmp_path_factory.mktemp("whole") / PLACE
    for name in (HOME, "site"):
        (place / name).mkdir(parents=True)
    (place / "site" / "sitecustomize.py").write_text(SITE)
    (place / "broken.py").write_text(PLUGIN)
    log, paths = place / "sockets.log", [str(path) for path in (place / "site", ROOT, ROOT / "tests")]
    caches = {f"XDG_{kind.upper()}_HOME": str(Path.home() / f".{kind}") for kind in ("cache", "config")}
    environment = caches | os.environ | {
        "HOME": str(place / HOME), "USER": USER, "LOGNAME": USER, "LNAME": USER, "USERNAME": USER, "HOSTNAME": HOST,
        "SECRET_KEY": VALUE, "SOCKET_LOG": str(log), "PYTHONPATH": os.pathsep.join(paths),
    }  # fmt: skip

    def call(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)

    draw(place / "data")
    folders = ["--results", place / "results", "--reports", place / "reports"]
    images = ["--dataset", "folder:pets", "--data", place / "data"]
    methods = ["-m", "ce,breaks,dies", "--plugin", place / "broken.py"]
    run = call("-c", HURRY, "run", "digits", "--epochs", "1", "--seeds", "0", *images, *methods, *folders)
    report = call("-m", "benchmark", "report", *folders)
    return SimpleNamespace(place=place, run=run, report=report, call=call, log=log)


def test_no_step_from_training_to_report_opens_a_socket(sweep):
    assert sweep.run.returncode == 1, sweep.run.stderr
    assert sweep.report.returncode == 0, sweep.report.stderr
    statuses = sorted(record.status for record in Store(sweep.place / "results").latest().values())
    assert statuses == ["done", "done", "failed", "failed"]
    assert (sweep.place / "reports" / "index.html").is_file()
    assert not sweep.log.exists(), sweep.log.read_text()


def test_the_test_would_notice_a_socket(sweep):
    tried = sweep.call("-c", "import socket; socket.socket()")
    assert "the test has no network" in tried.stderr
    assert sweep.log.read_text()
    sweep.log.unlink()


def test_no_file_names_the_user_the_host_or_their_folders(sweep):
    files = [path for name in ("results", "reports") for path in (sweep.place / name).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".npz", ".safetensors", ".html", ".csv", ".md", ".tex", ".svg"}
    private = [*(name.encode() for name in (USER, HOST, HOME, PLACE, VALUE)), b"example.org"]
    assert not [(str(path), word) for path in files for word in private if word in path.read_bytes()]


def test_the_trace_of_a_failure_says_where_it_was_all_the_same(sweep):
    records = Store(sweep.place / "results").latest().values()
    errors = {record.run["method"]: record.error for record in records if record.status == "failed"}
    assert errors["breaks"]["message"] == "USER@HOST: no table.csv, 'x.bin' or rest.txt"
    assert 'File "broken.py", line ' in errors["breaks"]["trace"]
    assert 'File "benchmark/training/lane.py", line ' in errors["breaks"]["trace"]
    assert errors["dies"]["message"] == "[Errno 2] No such file or directory: 'table.csv'"
