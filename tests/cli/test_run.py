"""From clips to a report: what a run leaves behind, and that it is the same however it came about."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.tiny import FAST, NMF, assert_same, tree, vtcd
from vtcd_jax.ablation.chunks import Chosen
from vtcd_jax.concepts import load_concepts
from vtcd_jax.runs import Run, read_config, read_csv, read_events

pytestmark = pytest.mark.compile

CONCEPTS = (
    "id name site layer head number tubelets videos spread silhouette error "
    "stability_seeds stability_clips stability_centres best_clip"
)
COLUMNS = {
    "concepts.csv": CONCEPTS,
    "held_out/concepts.csv": CONCEPTS,
    "importance.csv": "rank id name layer head score importance se_masks half_width_masks se_videos half_width_videos "
    "p_null videos importance_present",
    "convergence.csv": "score masks correlation low high",
    "curves.csv": "score order removed fraction mean se",
    "controls.csv": "control score area control_area advantage half_width passed control_masks",
    "areas.csv": "score order area se released_area",
    "layers.csv": "layer rank_share",
    "overlaps.csv": "mask concept name miou se half_width centres_mean centres_95 groups_mean groups_95",
    "clips.csv": "clip sha256 role label target misclassified",
}
ARRAYS = ("concepts.safetensors", "concepts_labels.npz", "ranking.safetensors", "drawn.safetensors", "frames.npz")
STAGES = ("discover", "rank", "curves", "report")
SCORES = ["log_probability", "accuracy", "probability", "margin", "logit"]


def header(folder, name: str) -> str:
    return (folder / name).read_text().splitlines()[0]


# -- what a run leaves behind ---------------------------------------------------------------------------------------
def test_every_file_is_there(finished):
    names = set(tree(finished))
    for name, columns in COLUMNS.items():
        assert header(finished, name) == columns.replace(" ", ",")
    blocks = [name for name in names if name.startswith("scores/")]
    stages = {name.split("/")[1] for name in blocks}  # those of discovery are gone
    assert stages == {"baseline", "rank", "curves", "centres", "centres-curve", "groups", "groups-curve"}
    assert len(blocks) == len(stages) * 4  # four clips each; one block holds all their passes
    others = names - set(blocks) - set(COLUMNS) - {n for n in names if n.startswith("held_out/concepts")}
    assert others == {"config.json", *ARRAYS, "report/index.html", *(f"stages/{name}.json" for name in STAGES)}
    kinds = [event["kind"] for event in read_events(finished)]
    assert kinds == [
        "begun", "stage", "discovered", "stage", "progress", "chunk", "progress", "ranked", "stage", "progress",
        "progress", "progress", "progress", "progress", "curves drawn", "stage",
    ]  # fmt: skip


def test_the_tables_agree_with_each_other(finished):
    concepts, ranked = read_csv(finished / "concepts.csv"), read_csv(finished / "importance.csv")
    assert [row["score"] for row in ranked[: len(SCORES)]] == SCORES
    assert {(row["id"], row["name"]) for row in ranked} == {(row["id"], row["name"]) for row in concepts}
    first = [row for row in ranked if row["score"] == SCORES[0]]
    assert [int(row["rank"]) for row in first] == list(range(1, len(concepts) + 1))
    values = [float(row["importance"]) for row in first]
    assert values == sorted(values, reverse=True) and len(set(values)) > 1
    curves = [row for row in read_csv(finished / "curves.csv") if row["score"] == SCORES[0]]
    ends = {row["order"]: row["mean"] for row in curves if int(row["removed"]) == len(concepts)}
    assert set(ends) == {"most-first", "least-first", "random"} and len(set(ends.values())) == 1
    assert {row["layer"] for row in read_csv(finished / "layers.csv")} == {"0", "1"}


def test_the_controls_say_whether_groups_without_learning_are_worse(finished):
    """A random network's concepts are not shown to be better than random centres, and the report says so in red."""
    rows, page = read_csv(finished / "controls.csv"), (finished / "report/index.html").read_text()
    assert [row["control"] for row in rows] == ["random centres", "random groups"]
    for row in rows:
        area, control, gain, half = (float(row[n]) for n in ("area", "control_area", "advantage", "half_width"))
        assert np.isclose(control - area, gain, atol=1e-6) and float(row["control_masks"]) > 0
        assert row["passed"] == str(gain > half).lower()
        assert f"{row['control']}, most important first" in page
    assert page.count("verdict failed") == sum(row["passed"] == "false" for row in rows)


def test_config_names_everything_the_results_depend_on(finished, model):
    config = read_config(finished)
    assert config["settings"]["masks"] == 8 and config["settings"]["seed"] == 0 and config["chunk"] == 1
    assert config["settings"]["nmf"]["elbow"]["number"] == 3 and config["settings"]["scores"] == SCORES
    assert len(config["clips"]) == len(config["held_out"]) == 4
    assert not set(config["clips"].values()) & set(config["held_out"].values())
    assert all(len(digest) == 64 for digest in config["clips"].values())
    assert set(config["model"]) == {p.name for p in model.iterdir()}
    assert {"jax", "vtcd_jax", "device", "precision"} <= set(config["made_with"])


def test_the_held_out_clips_carry_the_same_concepts(finished):
    found, held_out = load_concepts(finished), load_concepts(finished / "held_out")
    assert found.names == held_out.names and not set(found.video_hashes) & set(held_out.video_hashes)
    np.testing.assert_array_equal(found.dictionary, held_out.dictionary)


def test_blocks_hold_every_score_of_every_pass(finished):
    rows = {"baseline": 1, "rank": 8, "curves": 9}
    for stage, count in rows.items():
        for path in (finished / "scores" / stage).iterdir():
            block = load_file(path)
            assert sorted(block) == sorted(SCORES) and {v.shape for v in block.values()} == {(count,)}
            np.testing.assert_allclose(np.exp(block["log_probability"]), block["probability"], rtol=1e-5)


# -- the same bytes, whatever happened in between -------------------------------------------------------------------
def test_two_runs_give_the_same_bytes(finished, job, tmp_path):
    assert vtcd(*job, "--out", tmp_path / "again").code == 0
    assert_same(tmp_path / "again", finished)


def test_another_seed_gives_other_results(finished, job, tmp_path):
    assert vtcd(*job, "--out", tmp_path / "other", "--seed", "1").code == 0
    ours, theirs = tree(tmp_path / "other"), tree(finished)
    for name in ("concepts.safetensors", "importance.csv", "curves.csv"):
        assert ours[name] != theirs[name]


def test_commands_go_on_where_the_last_one_ended(finished, job, tmp_path):
    out = tmp_path / "steps"
    assert vtcd("discover", *job[1:], "--out", out).code == 0
    assert not (out / "importance.csv").exists() and not (out / "scores").exists()
    for command, made in (("rank", "importance.csv"), ("curves", "curves.csv"), ("report", "report/index.html")):
        assert not (out / made).exists()
        said = vtcd(command, out)
        assert said.code == 0 and (out / made).is_file(), said.err
        assert str(out / made) in said.out
    assert_same(out, finished)
    resumed = [event for event in read_events(out) if event["kind"] == "resumed"]
    assert len(resumed) == 3 and [e["kind"] for e in read_events(out)].count("discovered") == 1


def test_resuming_after_losing_blocks_and_later_files(finished, job, tmp_path):
    out = tmp_path / "partly"
    shutil.copytree(finished, out)
    ranked, drawn = sorted((out / "scores/rank").iterdir()), sorted((out / "scores/curves").iterdir())
    kept = ranked[0].stat().st_mtime_ns
    for path in (*ranked[1:3], drawn[0], out / "importance.csv", out / "areas.csv", out / "report/index.html"):
        path.unlink()
    ranked[3].write_bytes(ranked[3].read_bytes()[:-5])  # half a block
    shutil.rmtree(out / "held_out")
    (out / "concepts_labels.npz").write_bytes(b"broken")  # concepts that cannot be read are found again
    said = vtcd(*job, "--out", out, "--resume")
    assert said.code == 0, said.err
    assert_same(out, finished)
    assert ranked[0].stat().st_mtime_ns == kept  # what was whole was not done again
    thrown = [event for event in read_events(out) if event["kind"] == "block thrown away"]
    assert len(thrown) == 1
    reasons = [event["reason"] for event in read_events(out) if event["kind"] == "stage"]
    assert "concepts_labels.npz has changed since the stage was done" in reasons


def test_an_interrupted_run_goes_on(finished, job, tmp_path, monkeypatch):
    out, write, left = tmp_path / "stopped", Run.write_block, [6]

    def interrupted(run, name, arrays):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(run, name, arrays)

    monkeypatch.setattr(Run, "write_block", interrupted)
    said = vtcd(*job, "--out", out)
    assert said.code == 1 and said.err.splitlines()[-1].startswith("vtcd: interrupted")
    assert "--resume" in said.err and len(list((out / "scores").rglob("*.safetensors"))) == 6
    monkeypatch.undo()
    assert vtcd(*job, "--out", out, "--resume").code == 0
    assert_same(out, finished)


def test_replacing_a_run_leaves_nothing_of_the_old_one(finished, job, tmp_path):
    out = tmp_path / "replaced"
    shutil.copytree(finished, out)
    arguments = [*job[: job.index("--hold-out")], *FAST]
    assert vtcd(*arguments, "--out", out, "--hold-out", "0", "--overwrite").code == 0
    assert not (out / "held_out").exists() and len(read_config(out)["clips"]) == 8
    assert len(list((out / "scores/rank").iterdir())) == 8


def test_another_chunk_changes_rounding_only(finished, job, tmp_path):
    out = tmp_path / "chunked"
    assert vtcd(*job, "--out", out, "--chunk", "3").code == 0
    assert tree(out)["concepts.safetensors"] == tree(finished)["concepts.safetensors"]
    blocks = sorted((finished / "scores/rank").iterdir())
    assert len(blocks) == 4
    for theirs in blocks:
        a, b = load_file(out / "scores/rank" / theirs.name), load_file(theirs)
        for name in ("log_probability", "logit", "margin", "probability"):
            np.testing.assert_allclose(a[name], b[name], atol=2e-5)


def test_a_measured_chunk_is_kept_when_resuming(finished, job, tmp_path, monkeypatch):
    """On accelerators the chunk is measured; a second measurement could come out differently."""
    out, measured = tmp_path / "run", iter((3, 5))
    monkeypatch.setattr("vtcd_jax.ablation.engine.pick_chunk", lambda *_: Chosen(next(measured)))
    assert vtcd(*job, "--out", out).code == 0 and read_config(out)["chunk"] == 3
    before = tree(out)
    shutil.rmtree(out / "scores")
    shutil.rmtree(out / "stages")  # the records that the stages are done
    assert vtcd(*job, "--out", out, "--resume").code == 0
    assert tree(out) == before and next(measured) == 5


def test_resuming_with_other_settings_is_refused(finished, job):
    before = tree(finished)
    said = vtcd(*job, "--out", finished, "--resume", "--masks", "9")
    assert said.code == 2 and "settings.masks: 8 -> 9" in said.err and "--overwrite" in said.err
    assert tree(finished) == before


# -- other models, other input --------------------------------------------------------------------------------------
def test_an_autoencoder_is_ranked_by_reconstruction(autoencoder, tmp_path):
    options = FAST[: FAST.index("--target")]
    said = vtcd("run", "world:2", "--model", autoencoder, "--out", tmp_path / "r", *options, "--quiet")
    assert said.code == 0, said.err
    rows = read_csv(tmp_path / "r/importance.csv")
    assert {row["score"] for row in rows} == {"reconstruction"} and {row["layer"] for row in rows} == {"0", "1"}
    assert "most important by reconstruction: block " in said.out


def test_one_clip_is_enough_and_its_errors_are_left_out(model, tmp_path):
    said = vtcd("run", "world:1", "--model", model, "--out", tmp_path / "r", *FAST[:-2], "--quiet")
    assert said.code == 0, said.err
    assert "in 1 clip:" in said.out and "nan" not in said.out and "±" not in said.out
    assert "curves on the ranked clips" in said.out


def test_each_clip_is_explained_by_its_own_predicted_class(model, tmp_path):
    out = tmp_path / "r"
    assert vtcd("run", "world:2", "--model", model, "--out", out, *FAST[:-2]).code == 0
    for path in (out / "scores/baseline").iterdir():
        assert load_file(path)["accuracy"].tolist() == [1.0]


def test_scores_can_be_chosen(model, tmp_path):
    out = tmp_path / "r"
    job = ("discover", "world:2", "--model", model, "--out", out, *FAST, "--scores", "margin", "accuracy", "margin")
    assert vtcd(*job).code == 0 and vtcd("rank", out).code == 0
    assert [row["score"] for row in read_csv(out / "importance.csv")[:2]] == ["margin", "accuracy"]


def test_real_clips(shared, model, tmp_path):
    folder = shared / "data" / "clips"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/clips")
    options = (*NMF, "--masks", "4", "--steps", "2", "--repeats", "1", "--top", "1")
    said = vtcd("run", folder, "--model", model, "--out", tmp_path / "r", *options)
    assert said.code == 0, said.err
    assert len(read_config(tmp_path / "r")["clips"]) == 4 and "in 4 clips" in said.out
    assert (tmp_path / "r/report/index.html").stat().st_size > 10_000
    assert not (tmp_path / "r/overlaps.csv").exists()  # not every clip has true masks
