"""Frames per second of our maze renderer beside ViZDoom's engine, on this machine.

    python -m benchmarks.peers.maze [frames=2000]

Prints one line per setting and the ratio at comparable pixel counts. ViZDoom (Wydmuch et al. 2019) is asked for its
smallest colour screen, 160×120, which is 1.17 times the pixels our 64×64 frame casts with 2×2 rays each; its time
includes its game logic, so read the ratio as "what filming costs", not as a verdict on either renderer.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor

from zoo import registry

SETTINGS = ((64, 1), (64, 2), (32, 2), (32, 1))


def maze_rate(size: int, supersample: int, frames: int, first: int = 0) -> float:
    """Frames per second of whole episodes (world, tour, poses, pixels) in one process."""
    options = {"size": size, "supersample": supersample, "frames": 500, "train": 10_000}
    maze = registry.build("dataset", "maze", options)
    maze.clip("train", first)  # warms the caches of numpy
    episodes = max(1, frames // 500)
    begin = time.perf_counter()
    for index in range(first + 1, first + 1 + episodes):
        maze.clip("train", index)
    return episodes * 500 / (time.perf_counter() - begin)


def two_processes(size: int, supersample: int, frames: int) -> float:
    """Sum of the rates of two processes that render side by side."""
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(maze_rate, size, supersample, frames, first) for first in (0, 5000)]
        return sum(job.result() for job in jobs)


def vizdoom_rate(frames: int) -> float | None:
    """Frames per second of ViZDoom's own basic scenario at 160×120 RGB, turning on the spot; None if not installed."""
    try:
        import vizdoom
    except ImportError:
        return None
    game = vizdoom.DoomGame()
    game.load_config(f"{vizdoom.scenarios_path}/basic.cfg")
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
    game.set_episode_timeout(0)
    game.init()
    try:
        begin = time.perf_counter()
        for _ in range(frames):
            game.make_action([3.0], 1)
            game.get_state().screen_buffer.copy()
        return frames / (time.perf_counter() - begin)
    finally:
        game.close()


def main(arguments: list[str]) -> None:
    """Measure and print."""
    frames = int(dict(argument.split("=", 1) for argument in arguments).get("frames", 2000))
    rates = {setting: maze_rate(*setting, frames) for setting in SETTINGS}
    for (size, supersample), rate in rates.items():
        print(f"maze    {size}x{size}, {supersample}x{supersample} rays a pixel, one process: {rate:8.0f} frames/s")
    print(f"maze    64x64, 1x1 rays a pixel, two processes: {two_processes(64, 1, frames):8.0f} frames/s (asked: 2000)")
    doom = vizdoom_rate(frames)
    if doom is None:
        print("vizdoom is not installed: pip install vizdoom for the comparison")
        return
    print(f"vizdoom 160x120, one process: {doom:8.0f} frames/s")
    print(f"ratio maze 64x64 with 2x2 rays (128x128 cast) / vizdoom 160x120: {rates[64, 2] / doom:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
