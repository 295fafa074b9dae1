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

RUNTIME="torch torchvision pandas matplotlib tabulate scipy yaml pydantic typer rich jinja2 itables safetensors sklearn numpy PIL"
TESTING="pytest pytest_timeout hypothesis ruff playwright"

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

complete() { # interpreter, modules ...: are they all there?  Looks for them without importing them
  "$1" - "${@:2}" <<'PY' 2>/dev/null
import importlib.util, sys
sys.exit(any(importlib.util.find_spec(name) is None for name in sys.argv[1:]))
PY
}

interpreter() { # requirements file, modules ...: sets $python
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

word=${1:-}
case "$word" in
  test)
    interpreter requirements-dev.txt $RUNTIME $TESTING
    exec "$python" -m pytest "${@:2}"
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
      suite=$("$python" -c 'import torch; print("crd" if torch.cuda.is_available() else "digits")')
      echo "no suite was named: running $suite"
    else
      suite=$word
      shift
    fi
    exec "$python" -m benchmark run "$suite" --download "$@"
    ;;
esac
