"""Networks of one's own behave as the library's: the same predictions, sites that can be read and edited, concepts that
are found and ranked; functions, linen and nnx modules alike."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import vtcd_jax as vtcd
from vtcd_jax.data import Clips
from vtcd_jax.models import (
    Edit,
    InputError,
    Inputs,
    ModuleSite,
    Output,
    Preprocessing,
    fingerprint,
    forward,
    sites,
    wrap,
)
from vtcd_jax.models.own.wrap import function_of

SIZE = Preprocessing(num_frames=4, height=16, width=16, mean=(0.5,) * 3, std=(0.5,) * 3)
GRID = (2, 4, 4)
KEYS = {f"block_{i}/attn/key": ModuleSite(f"block_{i}/key", GRID, special=1, heads=2) for i in range(2)}
NNX_KEYS = {f"block_{i}/attn/key": ModuleSite(f"blocks/{i}/key", GRID, special=1, heads=2) for i in range(2)}


@pytest.fixture(scope="module")
def clips() -> Clips:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 16, 16, 3), np.uint8)
    return Clips.make(pixels, list("abcd"))


@pytest.fixture(scope="module")
def video(clips) -> jax.Array:
    return jnp.asarray(SIZE.normalise(clips.video))


def patches(video: jax.Array) -> jax.Array:
    """[batch, 32, 96]: two frames of 4 x 4 pixels."""
    cut = video.reshape(len(video), 2, 2, 4, 4, 4, 4, 3).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return cut.reshape(len(video), 32, 96)


def attend(x: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    return x + jax.nn.softmax(x @ jnp.swapaxes(key, 1, 2)) @ value


class LinenBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        return attend(x, nn.Dense(8, name="key")(x), nn.Dense(8, name="value")(x))


class LinenNet(nn.Module):
    """A class token, two blocks, three classes."""

    @nn.compact
    def __call__(self, video):
        x = nn.Dense(8, name="embed")(patches(video))
        x = jnp.concatenate([jnp.ones((len(x), 1, 8)), x], axis=1)
        for i in range(2):
            x = LinenBlock(name=f"block_{i}")(x)
        return nn.Dense(3, name="head")(x[:, 0])


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.key, self.value = nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, x):
        return attend(x, self.key(x), self.value(x))


class NnxNet(nnx.Module):
    """The same, with dropout and running means."""

    def __init__(self, rngs):
        self.embed, self.head = nnx.Linear(96, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.blocks = nnx.List([NnxBlock(rngs), NnxBlock(rngs)])
        self.dropout, self.norm = nnx.Dropout(0.5, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, video):
        x = self.norm(self.embed(patches(video)))
        x = jnp.concatenate([jnp.ones((len(x), 1, 8)), x], axis=1)
        for block in self.blocks:
            x = self.dropout(block(x))
        return self.head(x[:, 0])


def linen_model() -> tuple[vtcd.models.Model, Any, Any]:
    module = LinenNet()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 4, 16, 16, 3)))
    return wrap(module, variables, sites=KEYS, preprocessing=SIZE), module, variables


def nnx_model() -> tuple[vtcd.models.Model, NnxNet]:
    module = NnxNet(nnx.Rngs(0))
    return wrap(module, sites=NNX_KEYS, preprocessing=SIZE), module


def of_function(params, video, tap):
    x = tap("tokens", patches(video).reshape(-1, *GRID, 96) @ params["embed"])
    return jnp.tanh(x).mean((1, 2, 3)) @ params["head"]


def function_model(function=of_function) -> vtcd.models.Model:
    rng = np.random.default_rng(1)
    return wrap(function, {"embed": rng.normal(size=(96, 8)), "head": rng.normal(size=(8, 5))}, preprocessing=SIZE)


def logits(model, video, **how) -> np.ndarray:
    return np.asarray(forward(model, Inputs(video), **how)[0].logits)


# -- the same network --------------------------------------------------------------------------------------------------
def test_a_linen_module_predicts_as_before(video):
    model, module, variables = linen_model()
    np.testing.assert_array_equal(logits(model, video), module.apply(variables, video))
    alone = wrap(LinenNet(), variables["params"], sites=KEYS, preprocessing=SIZE)
    np.testing.assert_array_equal(logits(alone, video), module.apply(variables, video))


def test_an_nnx_module_predicts_as_in_evaluation_and_stays_as_it_is(video):
    model, module = nnx_model()
    assert type(module.blocks[0].key) is nnx.Linear and not module.dropout.deterministic
    found = logits(model, video)
    module.eval()
    np.testing.assert_array_equal(found, module(video))


def test_a_function_may_return_logits_an_output_or_what_has_logits(video):
    expected = logits(function_model(), video)
    for made in (lambda x: Output(logits=x), lambda x: type("Prediction", (), {"logits": x})()):
        model = function_model(lambda params, video, tap, made=made: made(of_function(params, video, tap)))
        np.testing.assert_array_equal(logits(model, video), expected)


# -- sites -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [linen_model, nnx_model])
def test_outputs_of_submodules_are_sites_on_the_grid(make, video):
    model = make()[0]
    assert {site: shape.shape for site, shape in sites(model).items()} == {site: (1, *GRID, 2, 4) for site in KEYS}
    _, seen = forward(model, Inputs(video), capture=tuple(KEYS))
    assert all(value.shape == (4, *GRID, 2, 4) for value in seen.values())


def test_a_captured_value_is_what_the_submodule_gave(video):
    model, module, variables = linen_model()
    _, state = module.apply(variables, video, capture_intermediates=True)
    own = state["intermediates"]["block_1"]["key"]["__call__"][0]
    seen = forward(model, Inputs(video), capture="block_1/attn/key")[1]["block_1/attn/key"]
    np.testing.assert_array_equal(seen.reshape(4, 32, 8), own[:, 1:])  # without the class token


@pytest.mark.parametrize("make", [linen_model, nnx_model])
def test_edits_reach_the_prediction_and_spare_special_tokens(make, video):
    model = make()[0]
    plain = logits(model, video)
    same = {site: Edit() for site in KEYS}
    np.testing.assert_array_equal(logits(model, video, edits=same), plain)
    changed = logits(model, video, edits={"block_1/attn/key": Edit(scale=0.0)})
    assert np.abs(changed - plain).max() > 1e-3
    half = jnp.asarray([1.0, 0.0])[:, None]  # the second head alone
    assert np.abs(logits(model, video, edits={"block_1/attn/key": Edit(scale=half)}) - changed).max() > 1e-4


def test_zeroed_keys_are_those_of_zeroed_parameters_but_for_the_class_token(video):
    """With keys of zero and no bias for every token, and the class token's put back, nothing differs."""
    model, module, variables = linen_model()
    key = variables["params"]["block_1"]["key"]
    _, state = module.apply(variables, video, capture_intermediates=True)
    own = state["intermediates"]["block_1"]["key"]["__call__"][0]

    def only_class(next_function, args, keywords, context):
        value = next_function(*args, **keywords)
        return own.at[:, 1:].set(0) if context.module.path == ("block_1", "key") else value

    assert key["kernel"].shape == (8, 8)
    with nn.intercept_methods(only_class):
        expected = module.apply(variables, video)
    np.testing.assert_allclose(logits(model, video, edits={"block_1/attn/key": Edit(scale=0.0)}), expected, atol=1e-6)


def test_gradients_pass_through_a_site(video):
    model = nnx_model()[0]

    def score(scale):
        return forward(model, Inputs(video), edits={"block_0/attn/key": Edit(scale=scale)})[0].logits.sum()

    slope, step = jax.grad(score)(1.0), 1e-2
    np.testing.assert_allclose(slope, (score(1 + step) - score(1 - step)) / (2 * step), rtol=0.02)


class Frames(nn.Module):
    """Sees frames one by one: a convolution, then a mean over the frames."""

    pair: bool = False

    @nn.compact
    def __call__(self, video):
        frames = video.reshape(-1, *video.shape[2:])
        x = Pair(name="stem")(frames)[0] if self.pair else nn.Conv(6, (4, 4), 4, name="stem")(frames)
        return nn.Dense(3, name="head")(jax.nn.relu(x).mean((1, 2)).reshape(len(video), -1, 6).mean(1))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, frames):
        return nn.Conv(6, (4, 4), 4, name="conv")(frames), "beside"


@pytest.mark.parametrize("pair", [False, True])
def test_a_network_of_single_frames_has_time_in_its_sites(pair, video):
    module: Any = Frames(pair)
    variables: Any = module.init(jax.random.key(1), video)
    model = wrap(module, variables, preprocessing=SIZE, sites={"stem": ModuleSite("stem")})
    assert sites(model)["stem"].shape == (1, 4, 4, 4, 6)
    np.testing.assert_array_equal(logits(model, video), module.apply(variables, video))
    first = jnp.zeros(4).at[0].set(1.0)[:, None, None, None]
    one = logits(model, video, edits={"stem": Edit(scale=first)})
    alone = module.apply(variables, video[:, :1]) - variables["params"]["head"]["bias"]
    np.testing.assert_allclose(one - variables["params"]["head"]["bias"], alone / 4, atol=1e-5)


class FrameTokens(nn.Module):
    """A class token in every frame."""

    @nn.compact
    def __call__(self, video):
        frames = video.reshape(-1, 16, 48)
        x = nn.Dense(8, name="embed")(jnp.concatenate([jnp.ones((len(frames), 1, 48)), frames], axis=1))
        return nn.Dense(3)(jnp.tanh(x).mean(1).reshape(len(video), 4, 8).mean(1))


def test_special_tokens_of_every_frame_are_left_out(video):
    module = FrameTokens()
    variables = module.init(jax.random.key(1), video)
    model = wrap(module, variables, preprocessing=SIZE, sites={"x": ModuleSite("embed", (4, 4, 4), special=1)})
    assert sites(model)["x"].shape == (1, 4, 4, 4, 8)
    np.testing.assert_array_equal(logits(model, video), module.apply(variables, video))


# -- the library on it -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [linen_model, nnx_model, lambda: (function_model(),)])
def test_concepts_are_found_and_ranked_on_networks_of_ones_own(make, clips):
    model = make()[0]
    concepts = vtcd.concepts.discover(model, clips, key=0)
    assert concepts.sites == tuple(sites(model)) and len(concepts) >= 2
    found = vtcd.importance.cris(model, clips, concepts, masks=96, key=0)
    exact = vtcd.importance.cris(model, clips, concepts, masks=2048, key=1, design="paired")
    assert np.corrcoef(found.importance, exact.importance)[0, 1] > 0.9


def test_networks_of_equal_parameters_and_other_code_are_told_apart():
    def other(params, video, tap):
        return 2 * of_function(params, video, tap)

    prints = [fingerprint(function_model(function)) for function in (of_function, of_function, other)]
    assert prints[0] == prints[1] != prints[2]
    shifts = (jnp.zeros(5), jnp.ones(5))  # constants of the code
    assert len({fingerprint(function_model(lambda p, v, t, s=s: of_function(p, v, t) + s)) for s in shifts}) == 2


def test_reports_name_it(clips):
    model = wrap(of_function, function_model().params, preprocessing=SIZE, name="mine", labels=list("abcde"))
    assert model.labels == tuple("abcde") and vtcd.models.describe(model).startswith("mine · 4 × 16 × 16 clips")


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("site, message", [
    (ModuleSite("block_0/kee", GRID, 1), "no submodule 'block_0/kee'; nearest: .*block_0/key"),
    (ModuleSite("block_0/key", (2, 4, 5), 1), r"shape \[1, 33, 8\], which does not fit grid \(2, 4, 5\) and 1 special"),
    (ModuleSite("block_0/key", GRID), r"does not fit grid \(2, 4, 4\) and 0 special tokens: expected \[1, 32"),
    (ModuleSite("block_0/key"), r"shape \[1, 33, 8\], not \[batch, time, height, width, channel\]; give its grid"),
    (ModuleSite("block_0/key", GRID, 1, heads=3), "cannot be divided among 3 heads"),
])  # fmt: skip
@pytest.mark.parametrize("make", ["linen", "nnx"])
def test_sites_that_do_not_fit_are_refused_by_name(make, site, message):
    if make == "nnx":
        module, params = NnxNet(nnx.Rngs(0)), None
        site = ModuleSite(site.path.replace("block_0", "blocks/0"), site.grid, site.special, site.heads)
        message = message.replace("block_0", "blocks/0")
    else:
        module = LinenNet()
        params = module.init(jax.random.key(0), jnp.zeros((1, 4, 16, 16, 3)))
    with pytest.raises(InputError, match=f"site 'x': .*{message}" if "which" in message else message):
        wrap(module, params, sites={"x": site}, preprocessing=SIZE)


class Twice(nn.Module):
    @nn.compact
    def __call__(self, video):
        layer = nn.Dense(3, name="layer")
        return layer(layer(patches(video)[..., :3]))[:, 0]


def test_a_submodule_that_is_called_twice_is_no_site():
    variables = Twice().init(jax.random.key(0), jnp.zeros((1, 4, 16, 16, 3)))
    with pytest.raises(InputError, match="'layer' is called more than once in a pass"):
        wrap(Twice(), variables, sites={"x": ModuleSite("layer", GRID)}, preprocessing=SIZE)


@pytest.mark.parametrize("network, more, message", [
    (lambda p, v, t: v.mean((1, 2, 3)), {"labels": ["a"]}, "1 labels for 3 logits"),
    (lambda p, v, t: v, {}, r"an array of shape \[1, 4, 16, 16, 3\], not logits \[batch, class\]"),
    (lambda p, v, t: "cat", {}, "the network returns str; return logits"),
    (lambda p, v, t: v @ jnp.ones((4, 4)), {}, "own network fails for a clip of its preprocessing's size: TypeError"),
    (lambda p, v, t: v, {"sites": {"x": ModuleSite("x")}}, "sites and call are for modules"),
])  # fmt: skip
def test_what_is_no_network_is_refused_in_one_line(network, more, message):
    with pytest.raises(InputError, match=message) as caught:
        wrap(network, {}, preprocessing=SIZE, **more)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_called_is_no_network():
    with pytest.raises(InputError, match="int is no network: give a function"):
        function_of(3, {}, {}, None)


def test_an_nnx_module_has_its_own_parameters():
    with pytest.raises(InputError, match="leave out params"):
        wrap(NnxNet(nnx.Rngs(0)), {"params": {}}, preprocessing=SIZE)


@pytest.mark.parametrize("wrong", [{"grid": (2, 4)}, {"grid": (0, 1, 1)}, {"special": -1}, {"heads": 0}])
def test_a_site_with_wrong_numbers_is_refused(wrong):
    with pytest.raises(InputError, match="'a/b'"):
        ModuleSite("a/b", **wrong)
