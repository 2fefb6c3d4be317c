"""Version 2 of the benchmark: methods compared on networks by seed, at several levels of noise."""
