"""A camera in a Doom map: ViZDoom (Kempka et al. 2016; Wydmuch et al. 2019) asked for the picture at a given pose."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from components.doom_map import UNITS
from zoo.errors import UserError

ANGLE_STEPS = 65536
"""Headings are rounded to this many a circle, which the engine reaches exactly, so that equal poses are equal bits."""
VARIABLES = ("POSITION_X", "POSITION_Y", "CAMERA_POSITION_Z", "ANGLE")


def engine() -> ModuleType:
    """The vizdoom package; raises UserError, naming the extra, where it is not installed."""
    try:
        import vizdoom
    except ImportError as error:
        raise UserError(
            f"the vizdoom data set needs the ViZDoom engine ({error}): pip install 'spacetime-zoo[vizdoom]'."
        ) from error
    return vizdoom


class DoomCamera:
    """One running game. Use `open_camera`, which closes it whatever happens."""

    def __init__(self, game: Any, variables: Any) -> None:
        self._game, self._variables = game, variables
        # The engine ignores the first turns after a map starts; by now they have passed.
        game.make_action([0.0], 20)
        # Tours pass close by ornaments, which would block a warp.
        game.send_game_command("noclip")

    def shoot(self, x: float, y: float, yaw: float) -> tuple[np.ndarray, np.ndarray]:
        """Picture uint8 [H, W, 3] near x, y (cells) and yaw (radians), and the exact pose it was taken at, float64 [4].

        The player stands on whole map units and headings lie on a grid: the pose says where it was. Raises
        RuntimeError where the engine does not get there.
        """
        units = round(x * UNITS), round(y * UNITS)
        heading = round(yaw / (2 * np.pi) * ANGLE_STEPS) * 360.0 / ANGLE_STEPS
        self._game.send_game_command(f"warp {units[0]} {units[1]}")
        turn = _wrap_degrees(heading - self._read("ANGLE"))
        self._game.set_action([-turn])  # the button counts degrees clockwise
        self._game.advance_action(1, False)
        # The picture is of the next tic, even if there was nothing to turn: only then has the eye risen to its height.
        self._game.make_action([0.0], 1)
        at_x, at_y, at_z, at_heading = (self._read(name) for name in VARIABLES)
        if (at_x, at_y) != units or abs(_wrap_degrees(at_heading - heading)) > 1e-4:
            raise RuntimeError(
                f"the Doom engine stands at {(at_x, at_y)} heading {at_heading:.4f}, not at {units} and {heading:.4f}"
            )
        pose = np.array([at_x / UNITS, at_y / UNITS, at_z / UNITS, np.radians(_wrap_degrees(heading))])
        return self._game.get_state().screen_buffer, pose

    def _read(self, variable: str) -> float:
        return self._game.get_game_variable(getattr(self._variables, variable))


def _wrap_degrees(angle: float) -> float:
    """To [-180, 180)."""
    return (angle + 180) % 360 - 180


@contextmanager
def open_camera(wad: bytes, *, tall: bool) -> Iterator[DoomCamera]:
    """Start a headless game on the map, 160×120 pixels or 320×240 where `tall`, and end its process on leaving."""
    vizdoom = engine()
    with tempfile.TemporaryDirectory(prefix="zoo-doom-") as folder:
        path = Path(folder, "map.wad")
        path.write_bytes(wad)
        game = vizdoom.DoomGame()
        try:
            _configure(vizdoom, game, path)
            size = vizdoom.ScreenResolution.RES_320X240 if tall else vizdoom.ScreenResolution.RES_160X120
            game.set_screen_resolution(size)
            game.init()
            yield DoomCamera(game, vizdoom.GameVariable)
        finally:
            game.close()


def _configure(vizdoom: ModuleType, game: Any, wad: Path) -> None:
    package = Path(str(vizdoom.__file__)).parent
    if os.name == "posix":
        game.set_vizdoom_path(str(_starter(package / "vizdoom", wad.parent)))
    game.set_doom_game_path(str(package / "freedoom2.wad"))
    game.set_doom_scenario_path(str(wad))
    game.set_doom_config_path(str(wad.with_suffix(".ini")))
    game.set_doom_map("MAP01")
    game.set_seed(0)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_episode_timeout(0)
    game.add_game_args("+sv_cheats 1")  # permits `warp`
    for thing in (
        "hud", "weapon", "crosshair", "decals", "particles", "messages", "effects_sprites", "corpses", "screen_flashes"
    ):  # fmt: skip
        getattr(game, f"set_render_{thing}")(False)
    game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
    game.set_available_game_variables([getattr(vizdoom.GameVariable, name) for name in VARIABLES])


def _starter(program: Path, folder: Path) -> Path:
    """A script that runs the engine inside `folder`: it writes into its working directory, and dies if it cannot."""
    script = folder / "start.sh"
    script.write_text(f'#!/bin/sh\ncd {shlex.quote(str(folder))} && exec {shlex.quote(str(program))} "$@"\n')
    script.chmod(0o700)
    return script
