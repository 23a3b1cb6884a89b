"""The picture of bits a pixel against PSNR: what is a line, what is a dot, and that their names can be read."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from benchmarks import leaderboard_page
from benchmarks.leaderboard import Collection, Entry, boards
from benchmarks.leaderboard_rate import brief, rate_plot
from benchmarks.pooled import pool
from tests.rate_records import floor, study, tokenizer


def entries(records, folder):
    return [Entry(record, folder / f"{number}.json") for number, record in enumerate(records)]


def page(records, folder, pooled=True):
    found = entries(records, folder)
    return leaderboard_page.render(boards(found), Collection(found, {}), pooled=pool(found) if pooled else ())


def test_the_page_holds_the_picture_and_its_curve_is_not_drawn_over_time(tmp_path):
    for pooled in (True, False):
        text = page(study(), tmp_path, pooled)
        assert text.count("PSNR against bits per pixel</figcaption>") == 1
        assert "rate_distortion</figcaption>" not in text and "rate_distortion [dB]" not in text
    assert "PSNR against bits per pixel" not in page([floor("mean_frame", 17.0)], tmp_path)


def test_a_line_a_continuous_tokenizer_and_a_dot_each(tmp_path):
    (board,) = pool(entries(study(), tmp_path))
    ids = {id(row): f"r{place}" for place, row in enumerate(board.rows)}
    plot = rate_plot(board.rows, ids, dict.fromkeys(ids, "s0"))
    models = [row for row in board.rows if row.is_model]
    assert len(plot.dots) == len(models) == 10 and all(row.seeds == 3 for row in models)
    assert sum(not line.dashed for line in plot.lines) == 4  # vae at three factors in time, and diffusers
    assert sum(line.dashed for line in plot.lines) == 1  # magvit2's three
    assert {dot.label for dot in plot.dots} >= {"vae t=1", "vae t=4", "magvit2 t=2", "teco", "vqgan"}
    by_label = {dot.label: dot for dot in plot.dots}
    assert by_label["vqvae"].x < by_label["magvit2 t=4"].x < by_label["teco"].x < by_label["vae t=1"].x
    assert by_label["vae t=1"].y < by_label["vae t=4"].y < by_label["teco"].y
    assert by_label["teco"].high > by_label["teco"].y > by_label["teco"].low, "a whisker over videos and seeds"


def test_names_in_the_picture_do_not_lie_on_each_other(tmp_path):
    many = [tokenizer(f"tokenizer{i}", 0, 24 + i / 10, codes=2 ** (6 + i)) for i in range(9)]
    for records in (study(), many, many[:1]):
        (board,) = pool(entries(records, tmp_path))
        ids = {id(row): f"r{place}" for place, row in enumerate(board.rows)}
        plot = rate_plot(board.rows, ids, dict.fromkeys(ids, "s0"))
        boxes = [(d.text_x, d.text_y - 10, d.text_x + 6.3 * len(d.label), d.text_y + 3) for d in plot.dots]
        for number, one in enumerate(boxes):
            assert one[0] >= 50 and one[2] <= 600 and one[1] >= 0 and one[3] <= 340
            for other in boxes[number + 1 :]:
                wide, high = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
                assert wide <= 0 or high <= 0
        assert len(plot.x_ticks) > 1 and len(plot.y_ticks) > 1


def test_no_name_is_written_over_a_line(tmp_path):
    (board,) = pool(entries(study(), tmp_path))
    ids = {id(row): f"r{place}" for place, row in enumerate(board.rows)}
    plot = rate_plot(board.rows, ids, dict.fromkeys(ids, "s0"))
    for line in (line for line in plot.lines if not line.dashed):
        places = [tuple(map(float, place.split(","))) for place in re.split("[ML]", line.path) if place]
        steps = np.linspace(0, 1, 50)[:, None]
        drawn = np.concatenate([np.add(one, np.subtract(to, one) * steps) for one, to in pairwise(places)])
        for dot in plot.dots:
            low, high = (dot.text_x, dot.text_y - 9), (dot.text_x + 6.3 * len(dot.label), dot.text_y + 2)
            assert not ((drawn > low) & (drawn < high)).all(1).any(), dot.label


def test_namesakes_say_what_tells_them_apart():
    three = [tokenizer("vae", 0, 28, temporal=t) for t in (1, 4)] + [tokenizer("teco", 0, 25, codes=8)]
    assert brief(three, ["a=x", "a=y", "a=z"]) == ["vae t=1", "vae t=4", "teco"]
    assert brief(three, ["vae_large", "a=y", "teco_vq"]) == ["vae_large", "vae t=4", "teco_vq"]
    twice = [tokenizer("vae", 0, 28), tokenizer("vae", 1, 28)]
    assert brief(twice, ["vae, lr=1", "vae, lr=2"]) == ["vae, lr=1", "vae, lr=2"]


def test_costs_against_quality_lie_along_bits_per_pixel(tmp_path):
    text = page(study(), tmp_path)
    assert "pd_lite0 ↓ against bits per pixel" in text and "temporal_detail ↑ against bits per pixel" in text
    assert "calls/frame" not in text.split("Every training seed")[0]
