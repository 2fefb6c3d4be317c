"""The hand-written network, its clips, and what is true of them."""
