"""Version 2: networks drawn from a seed, with circuits of heads; their clips, and what is true of both."""
