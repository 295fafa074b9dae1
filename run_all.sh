#!/usr/bin/env bash
# From nothing to a report:  ./run_all.sh [SUITE] [options of `python -m benchmark run`]
#
#   ./run_all.sh              suite `crd` where there is a CUDA device, else `digits`
#   ./run_all.sh mini -m kd   one suite, with options
#   ./run_all.sh test         the whole test suite; further words go to pytest
#   ./run_all.sh setup        the set-up alone; its last line is the interpreter that is used
#
# Uses the current interpreter (or $PYTHON) if it has what is needed, else makes .venv and installs into it.
# A second run does only what is missing.  Exit codes: 0 done, 1 a run failed, 2 bad input, 130 stopped and resumable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The oldest versions that serve; requirements.txt pins those that the results were made with.
RUNTIME="torch>=2.10 torchvision>=0.25 pandas>=2.2 matplotlib>=3.9 tabulate>=0.9 scipy>=1.13 pyyaml>=6 pydantic>=2.8
  typer>=0.15.4 rich>=13.7 jinja2>=3.1 itables>=2.4 safetensors>=0.4.5 scikit-learn>=1.5 numpy>=2 pillow>=10.4
  filelock>=3.30"
TESTING="pytest>=8 pytest-timeout>=2.3 pytest-xdist>=3.6 hypothesis>=6.100 ruff>=0.15 playwright>=1.49"

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

complete() { # interpreter, package>=version ...: are all there, and new enough?  Nothing is imported
  "$1" - "${@:2}" <<'PY' 2>/dev/null
import re, sys
from importlib.metadata import version
def numbers(text): return [int(part) for part in re.findall(r"\d+", text.split("+")[0])]
sys.exit(any(numbers(version(name)) < numbers(least) for name, least in (word.split(">=") for word in sys.argv[1:])))
PY
}

interpreter() { # requirements file, package>=version ...: sets $python
  local candidate base=""
  for candidate in ${PYTHON:+"$PYTHON"} python3 python .venv/bin/python python3.14 python3.13 python3.12 python3.11; do
    recent "$candidate" || continue
    if complete "$candidate" "${@:2}"; then
      python=$candidate
      return
    fi
    [ "$candidate" = .venv/bin/python ] || [ -n "$base" ] || base=$candidate
  done
  if [ -z "$base" ]; then
    echo "error: no Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python ./run_all.sh" >&2
    exit 2
  fi
  install "$base" "$1"
}

install() { # interpreter, requirements file: makes or completes .venv, sets $python
  python=.venv/bin/python
  echo "setting up .venv from $2: a download of about 3 GB (torch with CUDA), some minutes on a fast line" >&2
  if ! { [ -x "$python" ] || "$1" -m venv .venv; } || ! "$python" -m pip install --quiet --disable-pip-version-check -r "$2"; then
    echo "error: the set-up of .venv failed, see above; mend it and run again, what is installed is kept" >&2
    exit 2
  fi
}

run_tests() { # words for pytest: a process per core, each of one thread
  local parallel="-n auto --maxprocesses 8 --dist worksteal" status=0
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  if ! command -v nvidia-smi >/dev/null; then exec "$python" -m pytest $parallel "$@"; fi
  # Tests of the GPU fill its memory: they run in one process, after all others, from which it is hidden.
  if [[ " $* " == *" -m "* ]]; then exec "$python" -m pytest "$@"; fi
  CUDA_VISIBLE_DEVICES="" "$python" -m pytest $parallel "$@" || status=$?
  "$python" -m pytest -m gpu "$@" || { [ $? -eq 5 ] || status=1; } # 5: none of these tests is of the GPU
  exit "$status"
}

word=${1:-}
case "$word" in
  test)
    interpreter requirements-dev.txt $RUNTIME $TESTING
    shift
    run_tests "$@"
    ;;
  setup)
    interpreter requirements.txt $RUNTIME
    echo "$python"
    ;;
  -h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    ;;
  *)
    interpreter requirements.txt $RUNTIME
    if [ -z "$word" ] || [ "${word#-}" != "$word" ]; then
      suite=$("$python" -m benchmark.acceleration.driver "$@") # cuda or cpu; exit code 2 if torch cannot use the GPU
      [ "$suite" = cuda ] && suite=crd || suite=digits
      echo "no suite was named: running $suite"
    else
      suite=$word
      shift
    fi
    exec "$python" -m benchmark run "$suite" --download "$@"
    ;;
esac
