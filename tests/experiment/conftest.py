"""A suite's file for the tests of what is resolved from it."""

import pytest
import yaml

SMALL = {"title": "t", "dataset": "digits", "pairs": ["resnet20-resnet8"], "methods": ["ce", "kd"], "recipe": "crd240"}


@pytest.fixture
def write_suite(request, tmp_path):
    """A function: changed keys -> the path of a suite's file, of SMALL or the module's own; None leaves a key out."""
    small = getattr(request.module, "SMALL", SMALL)

    def write(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in (small | changes).items() if value is not None}))
        return str(path)

    return write
