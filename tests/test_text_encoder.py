"""Text encoders: masks, independence of the batch, and open_clip offline with a tiny random tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo import registry
from zoo.errors import BadValue, UnknownName, UserError

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
CAPTIONS = ["a red circle", "", "a blue square moves left!", "круг и 円"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


def build(name: str, tiny: Path, **options: Any) -> Any:
    torch.manual_seed(0)
    if name == "open_clip":
        options = {"config_path": str(tiny), "pretrained": None} | options
    return registry.build("text_encoder", name, options)


def test_the_walk_sees_all_four() -> None:
    assert {"none", "byte_table", "word_table", "open_clip"} <= set(registry.names("text_encoder"))


@pytest.mark.parametrize("name", registry.names("text_encoder"))
def test_shapes_masks_and_the_empty_prompt(name: str, tiny: Path) -> None:
    encoder = build(name, tiny)
    tokens, mask = encoder.encode(CAPTIONS)
    assert tokens.shape == (*mask.shape, encoder.width) and len(tokens) == 4 and mask.dtype == torch.bool
    assert torch.isfinite(tokens).all() and not mask[1].any()
    if encoder.width:
        assert mask[[0, 2, 3]].any(dim=1).all() and not torch.allclose(tokens[0, :4], tokens[2, :4])
    assert encoder.encode([])[0].shape[0] == 0
    trained = [p for p in encoder.parameters() if p.requires_grad]
    assert bool(trained) == encoder.trainable


@pytest.mark.parametrize("name", [n for n in registry.names("text_encoder") if n != "none"])
def test_a_prompt_does_not_depend_on_its_batch(name: str, tiny: Path) -> None:
    encoder = build(name, tiny)
    together, mask = encoder.encode(CAPTIONS)
    for i in (0, 2, 3):
        alone, own = encoder.encode([CAPTIONS[i]])
        torch.testing.assert_close(together[i][mask[i]], alone[0][own[0]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["byte_table", "word_table"])
def test_a_trained_table_hears_the_order_of_words(name: str) -> None:
    encoder = build(name, Path())
    tokens, mask = encoder.encode(["red circle, blue square", "blue circle, red square"])
    mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert (mean[0] - mean[1]).abs().max() > 1e-2, "the mean is all that the network reads"


def test_byte_table_counts_bytes_and_cuts_long_prompts() -> None:
    encoder = registry.build("text_encoder", "byte_table", {"length": 6})
    assert encoder.encode(["é", "ab", "abcdefghij"])[1].sum(1).tolist() == [2, 2, 6]
    tokens, _ = encoder.encode(["ab"])
    tokens.square().sum().backward()
    assert encoder.table.weight.grad[ord("a") + 1].any() and not encoder.table.weight.grad[ord("z") + 1].any()


def test_word_table_takes_a_word_for_a_token_and_tells_words_apart_that_share_a_row() -> None:
    encoder = registry.build("text_encoder", "word_table", {"length": 6, "rows": 16})
    assert encoder.encode(["A red, Red circle.", "x " * 9])[1].sum(1).tolist() == [6, 6]
    words = [f"word{n}" for n in range(60)]
    single = {tuple(encoder._rows(word)) for word in words}
    assert len(single) > 3 * encoder.config.rows, "sixty words in sixteen rows: pairs of rows keep most of them apart"
    tokens, mask = encoder.encode(["RED", "red"])
    torch.testing.assert_close(tokens[0], tokens[1])
    assert mask.all()


def test_open_clip_gives_its_last_hidden_state_and_stays_frozen(tiny: Path) -> None:
    encoder = build("open_clip", tiny)
    assert encoder.width == 16 and not encoder.train().training and not encoder.model.training
    assert not hasattr(encoder.model, "visual")
    tokens, mask = encoder.encode(["hello there!", "hello"])
    assert tokens.shape == (2, 12, 16) and not tokens.requires_grad
    assert mask.sum(1).tolist() == [5, 3]  # start, two words, "!" (id 0, like filler), end
    index = encoder.tokenizer(["hello there!"])
    pooled = tokens[:1, index[0].argmax()] @ encoder.model.text_projection
    torch.testing.assert_close(pooled, encoder.model.encode_text(index))


def test_open_clip_loads_a_local_file_and_another_tower(tiny: Path, tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(1)
    model = open_clip.CLIP(**TINY)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = build("open_clip", tiny, pretrained=str(tmp_path / "weights.pt"))
    torch.testing.assert_close(encoder.model.token_embedding.weight, model.token_embedding.weight)
    tiny.write_text(json.dumps(TINY | {"custom_text": True}))
    assert build("open_clip", tiny).encode(["a"])[0].shape == (1, 12, 16)


def test_open_clip_refusals_name_the_cure(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="ViT-B-32"):
        registry.build("text_encoder", "open_clip", {"model": "VitB32"})
    with pytest.raises(UserError, match="byte_table"):
        registry.build("text_encoder", "open_clip", {"model": "ViT-B-32", "pretrained": "no_such_tag"})
    with pytest.raises(BadValue, match="null for random"):
        build("open_clip", tiny, pretrained=str(tmp_path / "missing.pt"))
    tiny.write_text("{}")
    with pytest.raises(BadValue, match="text_cfg"):
        build("open_clip", tiny)
    with pytest.raises(BadValue, match="nowhere"):
        build("open_clip", tmp_path / "nowhere.json")


@pytest.mark.parametrize("name", registry.names("text_encoder"))
def test_what_is_cut_off_a_prompt_is_said(name: str, tiny: Path) -> None:
    encoder = build(name, tiny)
    assert encoder.cut("") is None and encoder.cut("a red ball") is None
    said = encoder.cut("a red ball " * 40)
    assert said is None if name == "none" else "are read" in said
