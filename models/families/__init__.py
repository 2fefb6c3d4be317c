"""One file a network family; the registry collects what they offer as ``FAMILIES``."""
