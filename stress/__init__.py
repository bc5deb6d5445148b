"""Scenarios, workloads, the catalogue of known bugs, artifacts, and the command line."""

if __name__ != "sugarbush.stress":
    raise ImportError(
        "import sugarbush.stress: the folder of the repository is a part of the package sugarbush"
    )
