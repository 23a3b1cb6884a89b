"""Families of training windows: which frames of an episode a network sees, and which of them are given. No torch.

A family draws one window: ascending indices [F] and observed mask [F] with F = min(window, frames), at least one frame
to be made. Letters: T frames of the episode, F of the window, s frames to be made.

The unified mask modelling of VDT (Lu et al. 2023) mixes predict, backward, every 4th frame kept, unconditional, one
random frame, and every frame by itself: here `window`, `backward`, `every_nth`, `none`, `single` and `uniform`. Its
spatial masks are left out, since observed frames are whole frames here; `first` and `ends` are what tasks ask besides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from components.frame_choice import RECENT, checked_poses, nearest_in_pose, pose_features, spread
from zoo.errors import BadValue, UnknownName, nearest

if TYPE_CHECKING:
    import numpy as np

    Drawn = tuple[np.ndarray, np.ndarray]

GROUPS = 8
"""After so many groups `fdm` fills the window evenly: only windows about as long as the episode get there."""


class Family(Protocol):
    """One way to draw a window of `size` frames from an episode of `frames`."""

    def __call__(self, frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn: ...


def fdm(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """FDM's training distribution (Harvey et al. 2022, appendix): groups of evenly spaced frames.

    Each group has s ~ U{1..F} frames, a log-uniform spacing in [1, T/s) and a uniform offset; the first is to be made,
    later ones are given or made at even odds. Departs: FDM drops the group that would overfill the window and leaves
    the window short; here that group is cut, so that every window holds exactly F frames.
    """
    import numpy as np

    observed: dict[int, bool] = {}
    for group in range(GROUPS):
        count = int(rng.integers(1, size + 1))
        odds, stretch, offset = rng.random(3)
        spacing = (frames / (count - 0.999)) ** stretch if count > 1 else 1.0
        start = offset * (frames - spacing * (count - 1))
        given = group > 0 and odds < 0.5
        for i in range(count):
            observed.setdefault(min(int(start + i * spacing), frames - 1), given)
            if len(observed) == size:
                break
        if len(observed) == size:
            break
    else:
        rest = np.setdiff1d(np.arange(frames), np.fromiter(observed, int))
        given = bool(rng.random() < 0.5)
        observed.update(dict.fromkeys(rest[list(spread(0, len(rest), size - len(observed)))].tolist(), given))
    indices = sorted(observed)
    return np.array(indices), np.array([observed[i] for i in indices])


def window(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row from a random start, the first 1 … F-1 of them given."""
    import numpy as np

    start = int(rng.integers(0, frames - size + 1))
    given = int(rng.integers(1, size)) if size > 1 else 0
    return np.arange(start, start + size), np.arange(size) < given


def uniform(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames drawn from all, each given at even odds."""
    import numpy as np

    indices = np.sort(rng.choice(frames, size, replace=False))
    observed = rng.random(size) < 0.5
    if observed.all():
        observed[rng.integers(size)] = False
    return indices, observed


def hierarchy(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """What coarse-to-fine plans meet: frames to be made on a grid, finished ones between and after them, and before.

    1 … F/2 frames to be made, a log-uniform spacing apart. Up to half of the given frames come later than the first of
    these, on a coarser grid; the others come earlier, the newest ones or spread over all, at even odds.
    """
    import numpy as np

    made = int(rng.integers(1, max(1, size // 2) + 1))
    widest = (frames - 1) // (made - 1) if made > 1 else 1
    spacing = max(1, int(widest ** rng.random()))
    start = int(rng.integers(0, frames - spacing * (made - 1)))
    latent = start + spacing * np.arange(made)
    others = np.setdiff1d(np.arange(frames), latent)
    before, after = others[others < start], others[others > start]
    coarse = spacing * int(rng.integers(1, 2 * made + 1))
    given = after[coarse - 1 :: coarse][: int(rng.integers(0, (size - made) // 2 + 1))]
    wanted = min(size - made - len(given), len(before))
    newest = rng.random() < 0.5
    given = np.union1d(
        given, before[len(before) - wanted :] if newest else before[list(spread(0, len(before), wanted))]
    )
    # Near the start of an episode there are too few earlier frames: fill up with later ones.
    rest = np.setdiff1d(others, given)
    given = np.union1d(given, rest[list(spread(0, len(rest), size - made - len(given)))])
    indices = np.union1d(latent, given).astype(int)
    return indices, np.isin(indices, given)


def recent_spread(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """A block to be made, 1 … all given frames just before it, the others spread over or drawn from earlier ones."""
    first, made = _block(frames, size, rng)
    given = size - made
    before = first - int(rng.integers(1, given + 1)) if given else first
    distant = given - (first - before)
    if rng.random() < 0.5:
        earlier = list(spread(0, before, distant))
    else:
        earlier = sorted(rng.choice(before, distant, replace=False).tolist())
    return _joined(earlier, before, first, made)


def recent_nearest(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """A block to be made, the 3 frames before it, and the earlier frames nearest in pose, as pose_nearest chooses them.

    A frame seen before stands among the given ones only where the camera has come back to a place.
    """
    features = pose_features(checked_poses(poses, frames, "the mask family recent_nearest"))
    first, made = _block(frames, size, rng)
    given = size - made
    before = first - max(0, min(RECENT, given - 1))
    earlier = nearest_in_pose(features, range(first, first + made), before, given - (first - before))
    return _joined(earlier, before, first, made)


def none(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row from a random start, nothing given."""
    import numpy as np

    start = int(rng.integers(0, frames - size + 1))
    return np.arange(start, start + size), np.zeros(size, dtype=bool)


def first(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row, the first alone given."""
    indices, observed = none(frames, size, rng, poses)
    observed[: min(1, size - 1)] = True
    return indices, observed


def single(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row, one of them given, any."""
    indices, observed = none(frames, size, rng, poses)
    observed[int(rng.integers(size))] = size > 1
    return indices, observed


def backward(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row, the last 1 … F-1 of them given: `window` seen from the end."""
    indices, observed = window(frames, size, rng, poses)
    return indices, observed[::-1].copy()


def every_nth(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """F frames in a row, every n-th given, n in 2 … 4, from a random one on (VDT: every 4th, from the first on)."""
    import numpy as np

    indices, _ = none(frames, size, rng, poses)
    apart = int(rng.integers(2, 5))
    observed = np.arange(size) % apart == int(rng.integers(apart))
    return indices, observed & (size > 1)


def ends(frames: int, size: int, rng: np.random.Generator, poses: np.ndarray | None) -> Drawn:
    """Frames given at both ends: some, 1 … F-2 to be made right after them, and some given later.

    The later ones follow at once or, at even odds, after a log-uniform gap: a plan that fills a long gap from one end
    looks at the other from afar, and comes near it at last.
    """
    import numpy as np

    if size < 3:
        return first(frames, size, rng, poses)
    made = int(rng.integers(1, size - 1))
    before = int(rng.integers(1, size - made))
    near, stretch, place = rng.random(3)
    spare = frames - size
    gap = 0 if near < 0.5 else int((spare + 1) ** stretch) - 1
    start = int(place * (spare - gap + 1))
    indices = np.arange(start, start + size)
    indices[before + made :] += gap
    slots = np.arange(size)
    return indices, (slots < before) | (slots >= before + made)


def _block(frames: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and length of a block to be made: at most half the window, with room before it for the rest."""
    made = int(rng.integers(1, max(1, size // 2) + 1))
    return int(rng.integers(size - made, frames - made + 1)), made


def _joined(earlier: list[int], before: int, first: int, made: int) -> Drawn:
    import numpy as np

    indices = np.array([*earlier, *range(before, first + made)])
    return indices, indices < first


FAMILIES: Mapping[str, Family] = {
    "fdm": fdm,
    "hierarchy": hierarchy,
    "recent_spread": recent_spread,
    "recent_nearest": recent_nearest,
    "window": window,
    "uniform": uniform,
    "none": none,
    "first": first,
    "single": single,
    "backward": backward,
    "every_nth": every_nth,
    "ends": ends,
}

NOTHING_GIVEN = ("none", "fdm")
"""Families that show windows in which nothing is given."""
CONTINUING = ("window", "fdm", "hierarchy", "recent_spread", "recent_nearest", "uniform")
"""Families that show frames to be made after several given ones: they teach a video to go on."""

BETWEEN = ("ends", "fdm", "hierarchy", "uniform", "every_nth")
"""Families that show frames to be made between given ones."""


def checked_families(masks: Mapping[str, float], poses: np.ndarray | None, frames: int) -> None:
    """Raises UnknownName, BadValue (weights) or UnmetNeed (a family with a weight needs poses)."""
    for name, weight in masks.items():
        if name not in FAMILIES:
            raise UnknownName(f"there is no mask family '{name}'.{nearest(name, list(FAMILIES))}")
        if not weight >= 0 or weight == float("inf"):
            raise BadValue(f"train.generator.masks.{name}={weight} is no weight. Give a number from 0 on.")
    if not sum(masks.values()) > 0:
        raise BadValue(f"train.generator.masks gives no family a weight. Give one of {', '.join(FAMILIES)}.")
    if masks.get("recent_nearest", 0) > 0 and poses is None:
        checked_poses(poses, frames, "the mask family recent_nearest")


def draw_family(masks: Mapping[str, float], rng: np.random.Generator) -> Family:
    """One family, with odds in proportion to its weight."""
    point = rng.random() * sum(masks.values())
    for name, weight in masks.items():
        point -= weight
        if point < 0:
            return FAMILIES[name]
    return FAMILIES[next(name for name, weight in reversed(list(masks.items())) if weight > 0)]


def draw_window(
    masks: Mapping[str, float],
    own: Mapping[str, float],
    *,
    frames: int,
    window: int,
    rng: np.random.Generator,
    poses: np.ndarray | None,
) -> Drawn:
    """One window of an episode from the mix `masks`, or from the task's `own` where that is empty.

    Raises UnknownName, BadValue or UnmetNeed for a mix or an episode of which none can be drawn.
    """
    if frames < 1 or window < 1:
        raise BadValue(f"an episode of {frames} frames gives no window of {window}. Use longer episodes.")
    mix = masks or own
    checked_families(mix, poses, frames)
    # A task's only family takes no random number to be chosen, so that its windows are the family's own.
    family = FAMILIES[next(iter(own))] if not masks and len(own) == 1 else draw_family(mix, rng)
    return family(frames, min(window, frames), rng, poses)


def taught(
    masks: Mapping[str, float], own: Mapping[str, float], by: Collection[str], *, history_dropout: float = 0.0
) -> bool:
    """Whether training on a mix shows a network one of the families `by`; `history_dropout` shows it ``none``."""
    shown = {name for name, weight in (masks or own).items() if weight > 0}
    return not shown.isdisjoint(by) or (history_dropout > 0 and "none" in by)
