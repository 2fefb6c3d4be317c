"""A run from clips to report: what is computed when, and which files of a run folder hold it.

    clips ──discover──▶ concepts ──rank──▶ importance ──curves──▶ curves, layers, overlaps ──report──▶ index.html

Each stage reads what the stages before it left in the run folder, and leaves its own; the science lies in the rooms
above. ``settings`` every setting of a run, ``sources`` its model and clips, ``stages`` and ``reporting`` the work,
``planning`` what it will cost.
"""
