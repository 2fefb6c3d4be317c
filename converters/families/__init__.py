"""One table a family: how its published checkpoints name and store what our network needs."""
