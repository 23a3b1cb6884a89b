"""How signals reach the tokens: facts of each conditioning that hold whatever the network around it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from test_backbone import TEXT, batch, build, close, mixed

from components.contracts import Condition, Tokens, Window
from components.token_rows import lay_out
from zoo import compose, registry
from zoo.recipe import resolve
from zoo.sampling import Engine, Request

CONDITIONINGS = registry.names("conditioning")
READING = {"cross_attention"}
"""Conditionings whose blocks look at the prompt's tokens."""
WIDTH, HEADS = 12, 3


def conditioning(name: str, text_width: int = TEXT) -> Any:
    torch.manual_seed(0)
    made = registry.build("conditioning", name, width=WIDTH, heads=HEADS, text_width=text_width)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def reader(made: Any) -> Any:
    """A block's reader with random weights: at the start it adds nothing."""
    read = made.reader()
    for parameter in read.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return read


def rows(sizes: list[tuple[int, int, int]], starts: list[tuple[int, int]]) -> Tokens:
    """Random tokens of clips of these grids, laid into rows."""
    clips, frames = len(sizes), max(f for f, _, _ in sizes)
    flags = torch.zeros(clips, frames, dtype=torch.bool)
    window = Window(torch.arange(frames).expand(clips, frames).float(), flags, ~flags)
    return lay_out([torch.randn(*size, WIDTH) for size in sizes], window, starts)


def prompt(clips: int, words: int = 4) -> Condition:
    """Prompts of which the last one is dropped and the first one is shorter."""
    mask = torch.ones(clips, words, dtype=torch.bool)
    mask[0, 2:], mask[-1] = False, False
    return Condition(level=torch.rand(clips, 3), text=torch.randn(clips, words, TEXT), text_mask=mask)


# ------------------------------------------------------------------------------------------------ the contract


def test_the_walk_sees_every_conditioning() -> None:
    assert {"adaln", "concat", "cross_attention"} <= set(CONDITIONINGS)


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_one_who_reads_says_so_and_the_signal_holds_the_prompt_of_all_others(name: str) -> None:
    made, net = conditioning(name), build(conditioning=name)
    assert made.reads_text == (name in READING) == (made.reader() is not None)
    assert (net.signal.text is None) == made.reads_text
    assert (made.told(prompt(2), rows([(1, 2, 2)] * 2, [(0, 0), (1, 0)])) is None) != made.reads_text


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_two_prompts_of_one_mean_differ_for_readers_alone(name: str) -> None:
    net = build(conditioning=name)
    z, window, told = batch([[1, 0, 0], [0, 0, 0]])
    told = replace(told, text_mask=torch.ones_like(told.text_mask))
    apart = torch.tensor([1.0, -1.0, 0.0])[:, None] * torch.randn(2, 1, TEXT)
    with torch.no_grad():
        gap = (net(z, window, told) - net(z, window, replace(told, text=told.text + apart))).abs().max()
    assert gap > 1e-3 if name in READING else gap < 1e-5


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_the_order_of_words_matters(name: str) -> None:
    """Whoever reads them, letters tell their place: the same words in another order are another prompt."""
    net, text = build(conditioning=name), registry.build("text_encoder", "byte_table", {"width": TEXT})
    z, window, told = batch([[0, 0, 0]])
    made = []
    with torch.no_grad():
        for words in ("a red disc and a blue box", "a blue box and a red disc", "a red disc and a blue box"):
            tokens, mask = text.encode([words])
            made.append(net(z, window, replace(told, text=tokens, text_mask=mask)))
    assert (made[0] - made[1]).abs().max() > 1e-4
    close(made[0], made[2])


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_what_each_adds_is_what_its_docstring_says(name: str) -> None:
    d, e, made = WIDTH, TEXT, conditioning(name)
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    sublayer, block, once = {
        "adaln": (3 * d * d + 3 * d, 0, 0),
        "concat": (2 * d, 0, 2 * d * d + d),
        "cross_attention": (3 * d * d + 3 * d, 2 * d * d + 2 * e * d + 6 * d, e),
    }[name]
    assert count(made.modulator()) == sublayer and count(made) == once
    assert (count(made.reader()) if made.reads_text else 0) == block


# ------------------------------------------------------------------------------------------------ reading a prompt


def by_hand(read: Any, x_nd: torch.Tensor, words_sd: torch.Tensor) -> torch.Tensor:
    """The reader's formula, head by head and query by query, over the words that are there."""
    q = read.query(read.norm(x_nd))
    k, v = read.key_value(words_sd).chunk(2, dim=-1)
    size, heard = WIDTH // HEADS, torch.zeros_like(q)
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        for n in range(len(x_nd)):
            weight = torch.exp(k[:, own] @ q[n, own] / size**0.5)
            heard[n, own] = weight @ v[:, own] / weight.sum()
    return x_nd + read.out(heard)


ROWS = {
    "regular": ([(2, 1, 2)] * 3, [(0, 0), (1, 0), (2, 0)]),
    "padded": ([(2, 1, 2), (1, 1, 2), (3, 2, 1)], [(0, 0), (1, 0), (2, 0)]),
    "packed": ([(2, 1, 2), (1, 1, 2), (2, 2, 1), (3, 2, 2)], [(0, 0), (0, 4), (0, 6), (1, 0)]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_every_token_reads_its_own_prompt_and_the_null(kind: str) -> None:
    made, tokens = conditioning("cross_attention"), rows(*ROWS[kind])
    read, told = reader(made), prompt(len(tokens.grids))
    assert tokens.regular == (kind == "regular")
    with torch.no_grad():
        out = read(tokens.x, made.told(told, tokens), tokens)
        for clip in range(len(tokens.grids)):
            own = tokens.clip == clip
            words = torch.cat([made.null[None], told.text[clip][told.text_mask[clip]]])
            close(out[own], by_hand(read, tokens.x[own], words))
        filler = tokens.clip < 0
        assert torch.isfinite(out[filler]).all() and bool(filler.any()) == (kind != "regular")


def test_a_dropped_prompt_is_the_null_alone() -> None:
    made, tokens = conditioning("cross_attention"), rows(*ROWS["packed"])
    read, told = reader(made), prompt(4)
    nothing = torch.zeros_like(told.text_mask)
    dropped = [
        replace(told, text_mask=nothing),
        replace(told, text=told.text + 9, text_mask=nothing),
        replace(told, text=told.text[:, :0], text_mask=nothing[:, :0]),
        replace(told, text=None, text_mask=None),
    ]
    with torch.no_grad():
        first, *others = (read(tokens.x, made.told(one, tokens), tokens) for one in dropped)
        for other in others:
            close(first, other)
        real = tokens.clip >= 0
        _, null = read.key_value(made.null).chunk(2)
        close((first - tokens.x)[real], read.out(null).expand(int(real.sum()), -1))
        longer = replace(
            told,
            text=torch.cat([told.text, torch.randn(4, 5, TEXT)], dim=1),
            text_mask=torch.cat([told.text_mask, nothing, nothing[:, :1]], dim=1),
        )
        close(read(tokens.x, made.told(told, tokens), tokens), read(tokens.x, made.told(longer, tokens), tokens))


def test_no_mask_means_that_all_tokens_are_real() -> None:
    made, tokens = conditioning("cross_attention"), rows(*ROWS["packed"])
    read, told = reader(made), prompt(4)
    shown = [replace(told, text_mask=mask) for mask in (None, torch.ones_like(told.text_mask))]
    with torch.no_grad():
        close(*(read(tokens.x, made.told(one, tokens), tokens) for one in shown))


def test_gradients_reach_the_prompt_and_no_masked_word() -> None:
    made, tokens = conditioning("cross_attention"), rows(*ROWS["packed"])
    read, told = reader(made), prompt(4)
    text = told.text.clone().requires_grad_()
    read(tokens.x, made.told(replace(told, text=text), tokens), tokens).square().sum().backward()
    assert torch.isfinite(text.grad).all() and not text.grad[~told.text_mask].any()
    assert text.grad[told.text_mask].any(-1).all() and made.null.grad.any()
    assert all(p.grad is not None and p.grad.any() for p in read.parameters())


def test_cross_attention_without_a_text_encoder_is_adaln() -> None:
    bare = conditioning("cross_attention", text_width=0)
    assert not bare.reads_text and bare.reader() is None and not list(bare.parameters())
    assert bare.told(Condition(level=torch.zeros(2, 3)), rows([(1, 2, 2)] * 2, [(0, 0), (1, 0)])) is None


def test_a_new_reader_adds_nothing() -> None:
    made, tokens = conditioning("cross_attention"), rows(*ROWS["packed"])
    assert torch.equal(made.reader()(tokens.x, made.told(prompt(4), tokens), tokens), tokens.x)


@pytest.mark.parametrize("packing", ["padding", "navit"])
def test_reading_runs_under_autocast(packing: str) -> None:
    net = build(conditioning="cross_attention", position="rope_3d", packing=packing)
    clips, window, told = mixed()
    with torch.autocast("cpu", torch.bfloat16):
        made = net(clips, window, told)
    sum(one.float().square().mean() for one in made).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.slow
def test_reading_is_one_graph_for_the_compiler() -> None:
    net = build(conditioning="cross_attention", position="rope_3d")
    inputs = batch([[1, 0, 0], [0, 1, 0]])
    close(torch.compile(net, backend="eager", fullgraph=True)(*inputs), net(*inputs))


# ------------------------------------------------------------------------------------------------ guidance on text


def engine(name: str, guidance: str) -> Engine:
    """Text to video through the whole engine, every weight random."""
    size = ["backbone={width: 16, depth: 1, heads: 2}", "solver.steps=2", "text_encoder={name: byte_table, width: 8}"]
    (recipe,) = resolve(["recipe=shapes_text", *size, f"conditioning={name}", f"guidance={guidance}"], sweep=False)
    torch.manual_seed(0)
    generator = compose.build_generator(recipe, compose.Sizes(channels=3, action_dim=0))
    with torch.no_grad():
        for parameter in generator.network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    build_part = lambda axis: compose.build(axis, recipe.part(axis))  # noqa: E731
    parts = {axis: build_part(axis) for axis in ("solver", "guidance", "rollout")}
    return Engine(
        generator.network.eval(), generator.objective, text_encoder=generator.text_encoder, window=4, step=2, **parts
    )


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_guidance_of_scale_one_is_no_guidance(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    asked = [
        Request(f"episode {n}", torch.randn(3, 2, 4, 4, generator=draw), 4, prompt=words)
        for n, words in enumerate(("a red disc", ""))
    ]
    run = partial(engine, name)
    plain, one, nearly, strong = (
        run(guidance).generate(asked)
        for guidance in (
            "none",
            "{name: classifier_free, scale: 1.0}",
            "{name: classifier_free, scale: 1.000001}",  # asks both branches
            "{name: classifier_free, scale: 4.0}",
        )
    )
    for a, b, c, d in zip(plain, one, nearly, strong, strict=True):
        close(a, b)
        torch.testing.assert_close(a, c, rtol=0, atol=1e-4 * float(a.abs().max()))
        assert torch.equal(a[:, :2], d[:, :2])
    assert (plain[0] - strong[0]).abs().max() > 1e-2, "a prompt is guided by"
    torch.testing.assert_close(plain[1], strong[1], rtol=0, atol=1e-4 * float(plain[1].abs().max()))
