"""Jobs: settings, inputs and stages over a run folder. Each module or subpackage with a ``JOB`` is found."""
