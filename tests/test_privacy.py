"""Texts for records and bug reports, without what names the user, the host or their folders."""

import socket
import sysconfig
from pathlib import Path

import pytest

from benchmark import privacy
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.build import build
from benchmark.store import Store
from benchmark.sweep import executors, failures
from benchmark.sweep.options import Options


@pytest.fixture
def alice(monkeypatch, tmp_path):
    """Alice at lab7, who works in /work place/kd (not on disk)."""
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(privacy, "user_name", lambda: "alice")
    monkeypatch.setattr(privacy, "working_folder", lambda: "/scratch/work place/kd")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab7.example.org")


TEXTS = {
    'File "/home/alice/mine/a b/method.py", line 3, in loss': 'File "method.py", line 3, in loss',
    "no file '/mnt/big disk/alice/x.bin' there": "no file 'x.bin' there",
    "no file /mnt/disk/alice/x.bin, sorry": "no file x.bin, sorry",
    "/scratch/work place/kd/results/x.json": "results/x.json",
    "~/mine/x.json": "x.json",
    "cannot write /home/alice": "cannot write ~",
    "/dev/shm/torch_1 and /proc/cpuinfo": "/dev/shm/torch_1 and /proc/cpuinfo",
    'File "/opt/conda/lib/python3.12/threading.py"': 'File "python3.12/threading.py"',
    'File "/home/alice/.venv/lib/python3.12/site-packages/torch/nn.py"': (
        'File "python3.12/site-packages/torch/nn.py"'
    ),
    f'File "{privacy.ROOT}/benchmark/store.py"': 'File "benchmark/store.py"',
    "alice@lab7.example.org and alice@lab7: 'alice' is not allowed": "USER@HOST and USER@HOST: 'USER' is not allowed",
    "lab7 does not answer": "HOST does not answer",
    "https://arxiv.org/abs/1503.02531": "https://arxiv.org/abs/1503.02531",
    "a ratio of a/b, 1/2 or / 3": "a ratio of a/b, 1/2 or / 3",
    "x = malice / lab70": "x = malice / lab70",
    "": "",
}


@pytest.mark.parametrize("text", TEXTS)
def test_places_user_and_host_are_taken_out_and_the_rest_stays(alice, text):
    assert privacy.without_places(text) == TEXTS[text]
    assert privacy.without_places(TEXTS[text]) == TEXTS[text], "a second time changes nothing"


def test_a_name_of_letters_stays_where_it_may_be_a_word(alice, monkeypatch):
    monkeypatch.setattr(privacy, "user_name", lambda: "train")
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu")
    assert privacy.without_places("def train(gpu): 'train' /net/gpu/x") == "def train(gpu): 'USER' x"


def test_paths_stay_relative_to_no_folder_above_the_home_folder(alice, monkeypatch):
    monkeypatch.setattr(privacy, "working_folder", lambda: "/home")
    assert privacy.without_places("no file /home/alice/a/b.bin, /home/bob/c.bin") == "no file b.bin, c.bin"


def test_without_home_name_or_working_folder_nothing_fails(monkeypatch):
    monkeypatch.setattr(privacy.os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(privacy, "user_name", lambda: "")
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    monkeypatch.setattr(privacy, "working_folder", lambda: "/")
    assert privacy.without_places("~ at /a/b/c.py") == "~ at c.py"


def test_the_libraries_of_this_python_are_named_by_their_package(alice):
    path = sysconfig.get_path("purelib")
    assert privacy.without_places(f'File "{path}/torch/nn.py"').endswith('site-packages/torch/nn.py"')


# ---- records and pages
def fail(_):
    raise RuntimeError("no file /mnt/disk/alice/x.bin on lab7\nand advice")


def test_the_error_of_a_job_and_of_a_run_without_a_process_have_no_places(alice):
    fault = executors.run_here(fail, None)
    assert fault.error["message"] == "no file x.bin on HOST"
    assert "alice" not in fault.error["trace"] and 'File "tests/test_privacy.py", line ' in fault.error["trace"]
    lost = {"type": "Failed", "message": "its worker failed: no /mnt/disk/alice/y.bin"}
    run = Run(dataset="digits", student="resnet8", method="ce", recipe=Recipe(epochs=1, lr=0.1, schedule=Steps(at=())))
    options = Options("/home/alice/suites/mine.yaml", Path("results"), Path("data"), plugins=("/home/alice/odd.py",))
    record = failures.minimal_record(run, "failed", lost, options)
    assert record.error["message"] == "its worker failed: no y.bin"
    assert (record.provenance["suite"], record.provenance["plugins"]) == ("mine.yaml", ["odd.py"])


def test_the_page_names_unreadable_files_without_the_folder_of_results(tmp_path):
    store = Store(tmp_path / "results")
    (store.root / "records").mkdir(parents=True)
    (store.root / "records" / "odd.json").write_text("{")
    build(store, tmp_path / "reports", formats=("html",))
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "records/odd.json: not a record" in page and str(tmp_path) not in page
