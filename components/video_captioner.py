"""A small CoCa for video: frames to tokens, two attentional poolers, a text decoder that first reads and then looks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from components.caption_search import beam_search
from components.captioned_frames import evenly, resized
from components.sinusoid import sinusoid
from components.word_vocabulary import END, FILLER, START, WordVocabulary


@dataclass(frozen=True)
class CaptionerSizes:
    """What `VideoCaptioner` is built of."""

    frames: int
    size: int
    """Pixels of a frame's side, a multiple of `patch`."""
    tubelet: int
    """Neighbouring frames that a token covers; divides `frames`."""
    patch: int
    """A power of two: as many halvings make a patch one token."""
    glances: int
    """Frames looked at closely, for what a thing is rather than for where it goes."""
    width: int
    heads: int
    frame_depth: int
    """Blocks that look within a moment."""
    time_depth: int
    """Blocks in which all tokens of a clip meet."""
    queries: int
    text_depth: int
    """Causal blocks over words alone."""
    fusion_depth: int
    """Causal blocks that also look at the video."""
    words: int
    length: int


class VideoCaptioner(nn.Module):
    """CoCa [Yu 2022]: L = λ_con·L_con + λ_cap·L_cap, L_cap = -Σ_t log P(y_t | y_<t, x), of clips.

    Departs from it: a stem of strided convolutions in place of linear patches, a closer look at few frames beside the
    coarse one at all, and the end-of-text token, which sees all words under the causal mask, in place of an appended
    class token. Poolers cascade: the contrastive one reads the caption tokens, glances among them. Those also say to
    each word outright how much it fits the video, so that seeing is learned before reading with attention is.
    """

    def __init__(self, sizes: CaptionerSizes) -> None:
        super().__init__()
        self.sizes, width = sizes, sizes.width
        self.vocabulary = WordVocabulary(sizes.words)
        self.stem = _stem(6 * sizes.tubelet, sizes.patch, width)
        side = sizes.size // sizes.patch
        self.stem_norm = nn.LayerNorm(width)
        self.place = nn.Parameter(_grid(side, side, width))
        self.moment = nn.Parameter(_line(sizes.frames // sizes.tubelet, width)[:, None])
        self.within = nn.ModuleList(Block(width, sizes.heads) for _ in range(sizes.frame_depth))
        self.across = nn.ModuleList(Block(width, sizes.heads) for _ in range(sizes.time_depth))
        self.caption_pooler = Pooler(sizes.queries, width, sizes.heads)
        self.glance = Glance(6, width) if sizes.glances else None
        self.told_apart = ToldApart((sizes.queries + sizes.glances) * width)
        self.contrast_pooler = Pooler(1, width, sizes.heads)
        self.embedding = nn.Embedding(sizes.words, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.order = nn.Parameter(0.02 * torch.randn(sizes.length + 2, width))
        self.reading = nn.ModuleList(Block(width, sizes.heads) for _ in range(sizes.text_depth))
        self.fusing = nn.ModuleList(Block(width, sizes.heads, looks=True) for _ in range(sizes.fusion_depth))
        self.norm = nn.LayerNorm(width)
        self.evidence = nn.Linear((sizes.queries + sizes.glances) * width, width, bias=False)
        self.of_video = nn.Linear(width, width, bias=False)
        self.of_text = nn.Linear(width, width, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(1 / 0.07).log())

    def seen(self, video_bcthw: Tensor, frames: int) -> Tensor:
        """As `see` takes it: evenly spaced frames, squeezed to squares, on the weights' device."""
        return resized(video_bcthw.to(self.place.device), self.sizes.size, frames)

    def see(self, video_bcthw: Tensor) -> Tensor:
        """Video [B, 3, frames, size, size] in [-1, 1] to the caption tokens [B, queries + glances, D]."""
        count, moments = video_bcthw.shape[0], self.sizes.frames // self.sizes.tubelet
        shown = torch.cat([video_bcthw, _contrasted(video_bcthw)], dim=1)
        x = self.stem(rearrange(shown, "b c (t n) h w -> (b t) (n c) h w", t=moments))
        x = self.stem_norm(rearrange(x, "n d h w -> n (h w) d")) + self.place
        for block in self.within:
            x = block(x)
        x = rearrange(rearrange(x, "(b t) n d -> b t n d", t=moments) + self.moment, "b t n d -> b (t n) d")
        for block in self.across:
            x = block(x)
        tokens = self.caption_pooler(x.reshape(count, -1, self.sizes.width))
        if self.glance is not None:
            # Neither the first nor the last: what grows or shrinks is best seen halfway.
            close = evenly(self.sizes.frames, self.sizes.glances + 2)[1:-1].tolist()
            tokens = torch.cat([tokens, self.glance(shown[:, :, close])], dim=1)
        return self.told_apart(tokens)

    def read(self, words_bs: Tensor) -> Tensor:
        """Words [B, S] to unimodal hidden states [B, S, D], each of which sees the words before it."""
        x = self.embedding(words_bs) + self.order[: words_bs.shape[1]]
        for block in self.reading:
            x = block(x, causal=True)
        return x

    def tell(self, hidden_bsd: Tensor, seen_bqd: Tensor) -> Tensor:
        """Logits [B, S, V] of the word after each: what the language asks for, plus what the video says of any word."""
        shown = self.evidence(seen_bqd.flatten(1))[:, None]
        for block in self.fusing:
            hidden_bsd = block(hidden_bsd, seen_bqd, causal=True)
        return (self.norm(hidden_bsd) + shown) @ self.embedding.weight.T

    def losses(self, video_bcthw: Tensor, words_bs: Tensor) -> tuple[Tensor, Tensor]:
        """L_con and L_cap, float32 scalars; nats a word."""
        seen, hidden = self.see(video_bcthw), self.read(words_bs)
        nats, asked = self._nats(self.tell(hidden[:, :-1], seen), words_bs)
        captioning = nats.sum() / asked.sum()
        last = (words_bs == END).float().argmax(dim=1)
        text = hidden[torch.arange(len(words_bs), device=words_bs.device), last]
        return self._contrast(self.contrast_pooler(seen)[:, 0], text, words_bs), captioning

    def surprise(self, video_bcthw: Tensor, words_bs: Tensor) -> Tensor:
        """L_cap of each clip by itself, [B]."""
        nats, asked = self._nats(self.tell(self.read(words_bs[:, :-1]), self.see(video_bcthw)), words_bs)
        return nats.sum(dim=1) / asked.sum(dim=1)

    def _nats(self, logits_bsv: Tensor, words_bs: Tensor) -> tuple[Tensor, Tensor]:
        """-log P of every word after the first, 0 in filler, and where a word is asked: [B, S-1] both."""
        asked = words_bs[:, 1:] != FILLER
        nats = F.cross_entropy(rearrange(logits_bsv.float(), "b s v -> b v s"), words_bs[:, 1:], reduction="none")
        return torch.where(asked, nats, 0.0), asked

    def _contrast(self, video_bd: Tensor, text_bd: Tensor, words_bs: Tensor) -> Tensor:
        """Symmetric cross entropy over the clips of a batch; another clip of the same caption is no negative."""
        video = F.normalize(self.of_video(video_bd).float(), dim=-1)
        text = F.normalize(self.of_text(text_bd).float(), dim=-1)
        logits = self.sharpness.float().clamp(max=4.6).exp() * video @ text.T
        same = (words_bs[:, None] == words_bs[None]).all(dim=-1)
        itself = torch.eye(len(words_bs), dtype=torch.bool, device=words_bs.device)
        logits = logits.masked_fill(same & ~itself, -torch.inf)
        target = torch.arange(len(words_bs), device=words_bs.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    @torch.no_grad()
    def write(self, video_bcthw: Tensor, beams: int) -> tuple[list[str], list[float]]:
        """Captions, and the mean probability of the words of each."""
        seen = repeat(self.see(video_bcthw), "b q d -> (b k) q d", k=beams)

        def score(said: Tensor) -> Tensor:
            return self.tell(self.read(said), seen)[:, -1].float().log_softmax(dim=-1)

        found, confidence = beam_search(
            score,
            count=len(video_bcthw),
            beams=beams,
            length=self.sizes.length + 1,
            start=START,
            end=END,
            device=video_bcthw.device,
        )
        return self.vocabulary.decode(found), confidence.tolist()


class Block(nn.Module):
    """Pre-norm attention, optionally a look at other tokens, and an MLP."""

    def __init__(self, width: int, heads: int, looks: bool = False) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.look = Attention(width, heads, of_others=True) if looks else None
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, others: Tensor | None = None, causal: bool = False) -> Tensor:
        x = x + self.attention(x, causal=causal)
        if self.look is not None:
            x = x + self.look(x, others)
        return x + self.mlp(self.norm(x))


class Attention(nn.Module):
    """Multi-head attention behind a norm, on its own tokens or on others'."""

    def __init__(self, width: int, heads: int, of_others: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.norm_others = nn.LayerNorm(width) if of_others else None
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, others: Tensor | None = None, causal: bool = False) -> Tensor:
        x = self.norm(x)
        source = x if self.norm_others is None or others is None else self.norm_others(others)
        query = rearrange(self.query(x), "b l (k d) -> b k l d", k=self.heads)
        key, value = rearrange(self.key_value(source), "b l (n k d) -> n b k l d", n=2, k=self.heads)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out(rearrange(seen, "b k l d -> b l (k d)"))


class Pooler(nn.Module):
    """CoCa's attentional pooler: learned queries look once at all tokens."""

    def __init__(self, queries: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(queries, width))
        self.attention = Attention(width, heads, of_others=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, queries, D]."""
        queries = repeat(self.queries, "q d -> b q d", b=len(x))
        return queries + self.attention(queries, x)


class Glance(nn.Module):
    """A close look at each of a few frames: fine convolutions, and the most of every channel anywhere in the frame.

    A small thing fills few of a frame's tokens; a maximum finds it where a mean over all of them would drown it.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        narrow = max(16, width // 6)
        self.near = nn.Sequential(
            _convolved(inputs, narrow, 5, 2),
            _convolved(narrow, 2 * narrow, 3),
            _convolved(2 * narrow, 2 * narrow, 3),
            _convolved(2 * narrow, 4 * narrow, 3, 2),
            _convolved(4 * narrow, 4 * narrow, 3),
        )
        self.out = nn.Linear(4 * narrow, width, bias=False)

    def forward(self, shown_bcthw: Tensor) -> Tensor:
        """[B, C, T, H, W] to one token a frame, [B, T, D]."""
        near = self.near(rearrange(shown_bcthw, "b c t h w -> (b t) c h w"))
        return self.out(rearrange(near.amax(dim=(2, 3)), "(b t) d -> b t d", b=len(shown_bcthw)))


class ToldApart(nn.BatchNorm1d):
    """Batch norm of a clip's tokens as one vector [Ioffe 2015]: what all clips share goes, what differs is as large.

    Without it the decoder takes a thousand steps to notice the little that differs. A clip by itself, which differs
    from nothing, is normalised by the running statistics.
    """

    def forward(self, tokens_bqd: Tensor) -> Tensor:
        flat = tokens_bqd.flatten(1).float()
        by_batch = self.training and len(flat) > 1
        told = F.batch_norm(
            flat, self.running_mean, self.running_var, self.weight, self.bias, by_batch, self.momentum or 0.0, self.eps
        )
        return told.view_as(tokens_bqd)


def _contrasted(video_bcthw: Tensor) -> Tensor:
    """A clip without its mean colour, at unit contrast: shapes and motions look alike on any ground."""
    rest = video_bcthw - video_bcthw.mean(dim=(2, 3, 4), keepdim=True)
    return rest / (rest.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt() + 0.02)


def _line(count: int, width: int) -> Tensor:
    """First values [count, width] of learned places on a line: near ones are alike, so motion has a direction early."""
    return sinusoid(torch.arange(count), width, period=float(count))


def _grid(height: int, width: int, channels: int) -> Tensor:
    """The same in a frame, [H·W, channels]: half the channels say y, half say x."""
    y, x = _line(height, channels // 2), _line(width, channels // 2)
    return torch.cat([repeat(y, "h d -> (h w) d", w=width), repeat(x, "w d -> (h w) d", h=height)], dim=-1)


def _convolved(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _stem(inputs: int, patch: int, width: int) -> nn.Sequential:
    """Halve as often as `patch` asks; channels double up to half the width."""
    halvings = patch.bit_length() - 1
    channels = [inputs, *(max(16, width >> (halvings - n)) for n in range(halvings))]
    layers = [_convolved(*pair, 3 if n else 5, 2) for n, pair in enumerate(pairwise(channels))]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1))
