"""Entry point of `python -m benchmark`."""

from benchmark.acceleration.openmp import configure_waiting

configure_waiting()  # before anything imports torch

from benchmark.cli.app import main  # noqa: E402

if __name__ == "__main__":
    main()
