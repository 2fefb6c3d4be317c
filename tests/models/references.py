"""Every reference network by name: what compares ours with it, quantity by quantity."""

from __future__ import annotations

from tests.models.families import (
    clip_reference,
    internvideo_reference,
    tcow_reference,
    timesformer_reference,
    viclip_reference,
    videomae_reference,
)

NETWORKS = {
    "VideoMAE": videomae_reference,
    "TimeSformer": timesformer_reference,
    "TCOW": tcow_reference,
    "InternVideo-MM": internvideo_reference,
    "ViCLIP": viclip_reference,
    "CLIP": clip_reference,
}
REFERENCES = {
    f"{network}: {name}": run for network, module in NETWORKS.items() for name, run in module.REFERENCES.items()
}
