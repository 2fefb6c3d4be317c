"""How methods are judged on planted truth: settings, trials, what is recovered, the table of figures."""
