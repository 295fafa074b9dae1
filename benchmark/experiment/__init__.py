"""What is to be run, as frozen values: runs, recipes, suites and where each value comes from."""
