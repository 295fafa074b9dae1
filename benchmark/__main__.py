"""Entry point of `python -m benchmark`."""

from benchmark.interrupts import run_interruptible


def main() -> None:
    """Import the command line, which takes a while, and run it."""
    from benchmark.cli.app import main as command_line

    command_line()


if __name__ == "__main__":
    run_interruptible(main)
