"""Entry point of `python -m benchmark`."""

from benchmark.interrupts import stopped_by_signals

if __name__ == "__main__":
    with stopped_by_signals():
        from benchmark.cli.app import main

        main()
