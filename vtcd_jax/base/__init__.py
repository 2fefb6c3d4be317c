"""The foundation: errors, atomic files, seeds and random numbers, statistics."""
