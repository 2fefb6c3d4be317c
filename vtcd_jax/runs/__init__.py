from .folder import *  # noqa
from .folder import FORMAT, SHARDS  # noqa
