"""Claims judged by made-up records: what holds, what does not, what cannot be told, and which rows a selector means."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic_records as made

from benchmarks import claims_text
from benchmarks.claim_gaps import reach_of, seconds_per_seed
from benchmarks.claim_rows import label_of, laid_over
from benchmarks.claims import judged_claims
from benchmarks.leaderboard import collect
from benchmarks.leaderboard_claims_page import STYLES
from benchmarks.record import Cost, Metric, Part, Record, SuiteReference, write
from benchmarks.stats import PairedDifference
from zoo.commands.leaderboard import main
from zoo.commands.publish import main as publish
from zoo.errors import BadValue, UnknownName, UserError

ROOT = Path(__file__).resolve().parent.parent

PD, PLACE, FD = made.HEADLINES
MAZE, VIZDOOM = (f"long500@1/{world}/c250" for world in made.WORLDS)


def row(strategy: str, seed: int, level: float, /, **changes) -> Record:
    """A record of long500 with an attention and a patch to select, whose seeds train generators of their own."""
    record = made.long500(strategy, seed, level, **changes)
    attention = {"name": "space_time_causal", "history": "all"}
    recipe = record.recipe | {"attention": attention, "backbone": {"name": "video_dit", "patch": None}}
    stages = {"tokenizer": "tokenizer-aa", "generator": f"generator-{strategy}-{seed}"}
    flops, seconds = {"generator": 15e12, "generated_frame": 2e9}, {"tokenizer": 60.0, "generator": 900.0}
    cost = Cost(parameters={"tokenizer": 700_000, "generator": 1_060_000}, trained_seconds=seconds, flops=flops)
    return record.model_copy(update={"recipe": recipe, "stages": stages, "cost": cost})


def with_options(record: Record, **options) -> Record:
    return record.model_copy(update={"recipe": record.recipe | options})


@pytest.fixture
def folder(tmp_path) -> Path:
    """long_range and hierarchical cannot be told apart, autoregressive is worse; in the other world it is the best."""
    for number, (world, levels) in enumerate([(made.WORLDS[0], made.LONG), (made.WORLDS[1], {**made.LONG})]):
        for seed in made.SEEDS:
            for strategy, level in levels.items():
                level = 0.4 if number and strategy == "autoregressive" else level
                write(row(strategy, seed, level, world=world, rng_seed=number), tmp_path)
        write(made.long500_control("copy_last", "floor", 0.9, 0, world=world, rng_seed=number), tmp_path)
    return tmp_path


def claim(article="long_range", against=("autoregressive",), **changes) -> dict:
    """As in the file; rollouts by name, and other choices as selectors."""
    return {
        "title": "Memory", "says": "It is good to remember.", "judged": [{"protocol": MAZE, "metric": PD}],
        "article": {"rollout": article} if isinstance(article, str) else article,
        "against": [{"rollout": name} if isinstance(name, str) else name for name in against],
    } | changes  # fmt: skip


def judged(folder: Path, *claims: dict, **rest):
    (folder / "claims.yaml").write_text(json.dumps({"claims": list(claims), **rest}))
    return judged_claims([folder])


# ---------------------------------------------------------------------------------------------------- verdicts


def test_a_claim_holds_when_every_alternative_is_clearly_worse(folder):
    (found,) = judged(folder, claim())
    assert found.outcome == "held" and found.budget == "1.06 M parameters, 15 TFLOP of training, 3 seeds"
    (gap,) = found.alternatives[0].gaps
    assert gap.outcome == "better" and gap.value < 0 and gap.interval[1] < 0 and gap.reach is None
    assert (gap.better_seeds, gap.seeds, gap.paired) == (3, 3, True)
    assert gap.value == pytest.approx(gap.ours.value - gap.theirs.value)
    assert claims_text.verdict(found) == (
        f"Held at this size ({found.budget}): by {PD}, rollout=long_range is better than rollout=autoregressive."
    )


def test_a_claim_does_not_hold_when_one_alternative_is_clearly_better(folder):
    (found,) = judged(folder, claim("autoregressive", ("long_range", "hierarchical")))
    assert found.outcome == "did not hold"
    assert "rollout=long_range and rollout=hierarchical are better than rollout=auto" in claims_text.verdict(found)
    poor = with_options(row("rolling", 0, 0.8), rollout={"name": "rolling"})
    write(poor, folder)
    (found,) = judged(folder, claim("autoregressive", ("rolling", "long_range")))
    assert [alternative.gaps[0].outcome for alternative in found.alternatives] == ["better", "worse"]
    assert found.outcome == "did not hold"
    assert "rollout=long_range is better than rollout=autoregressive; it is better" in claims_text.verdict(found)


def test_a_tie_says_how_many_seeds_and_hours_would_tell(folder):
    (found,) = judged(folder, claim(against=("autoregressive", "hierarchical")))
    assert found.outcome == "cannot be told apart"
    better, tied = (alternative.gaps[0] for alternative in found.alternatives)
    assert (better.outcome, tied.outcome) == ("better", "tie") and tied.interval[0] < 0 < tied.interval[1]
    half = tied.interval[1] - tied.value if tied.value < 0 else tied.value - tied.interval[0]
    seeds = 3 * (half / tied.value) ** 2
    assert tied.reach.seeds == (None if seeds > 200 else max(4, int(np.ceil(seeds))))
    sentence = claims_text.verdict(found)
    assert "is better than rollout=autoregressive; it cannot be told apart from rollout=hierarchical (" in sentence


def test_reach_grows_with_the_square_and_ends(folder):
    gap = PairedDifference(0.1, 8, (-0.1, 0.4), (0.1, 0.1))
    reach = reach_of(gap, 2, 1800.0)
    assert (reach.seeds, reach.hours) == (8, 4.0), "on the side of zero the half width is 0.2, twice the difference"
    assert claims_text.reached(reach) == "about 8 seeds, 4 h of training, would tell"
    assert reach_of(PairedDifference(-0.1, 8, (-0.4, 0.1)), 2, None) == type(reach)(8, None)
    assert reach_of(PairedDifference(0.1, 8, (0.0, 0.2)), 2, None).seeds == 3, "one more at least"
    for far in (PairedDifference(0.01, 8, (-0.1, 0.2)), PairedDifference(0.0, 8, (-0.1, 0.1))):
        assert claims_text.reached(reach_of(far, 2, 1.0)) == "no difference within reach of 200 seeds"


def test_a_seed_costs_what_its_own_stages_do():
    rows = [[row(name, seed, 0.5) for seed in (0, 1)] for name in ("full", "long_range")]
    assert seconds_per_seed(*rows) == 1800, "the tokenizer that all seeds share is there"
    shared = [
        [r.model_copy(update={"stages": {**r.stages, "generator": f"g{r.seeds}"}}) for r in side] for side in rows
    ]
    assert seconds_per_seed(*shared) == 900, "a generator that both rows share is trained once"
    assert seconds_per_seed([made.control("noise", "floor", 1.0)], []) is None


def test_every_measure_has_its_own_protocol_and_the_first_decides(folder):
    measures = [{"protocol": protocol, "metric": PD} for protocol in (MAZE, VIZDOOM)]
    first, second = judged(folder, claim(judged=measures), claim(judged=measures[::-1]))
    assert [gap.outcome for gap in first.alternatives[0].gaps] == ["better", "worse"]
    assert (first.outcome, second.outcome) == ("held", "did not hold")
    assert [protocol for _, protocol in claims_text.titles(first)] == [MAZE, VIZDOOM]


def test_figures_without_pairs_are_told_by_overlap(folder):
    (found,) = judged(folder, claim(judged=[{"protocol": MAZE, "metric": FD}]))
    assert not found.alternatives[0].gaps[0].paired
    assert "by overlap of intervals" in claims_text.cells(found)[0][0].notes


def test_only_seeds_that_both_have_are_compared(folder):
    for seed in (7, 8):
        write(row("autoregressive", seed, 0.1), folder)
    (found,) = judged(folder, claim())
    gap = found.alternatives[0].gaps[0]
    assert gap.seeds == 3 and gap.theirs.seeds == 3 and found.budget.endswith("3 to 5 seeds")


def test_what_is_counted_needs_no_interval(tmp_path):
    suite = SuiteReference(name="packing", version=1, options={"judges": "packing"})
    for name, filler, speed in (("padding", 0.5, (0.9, 1.1)), ("navit", 0.1, (1.5, 1.7)), ("bucket", 0.1, (1.6, 1.8))):
        metrics = {
            "filler": Metric(value=filler, n=4, higher_is_better=False, key="filler; protocol=packing@1"),
            "speed": Metric(
                value=sum(speed) / 2, n=4, interval=speed, higher_is_better=True, key="speed v1; protocol=packing@1"
            ),
            "rows": Metric(**Part(value=3, n=4).model_dump(), higher_is_better=None, key="rows"),
        }  # fmt: skip
        packed = made.make(name, 1.0, suite=suite, recipe={"packing": {"name": name}}, metrics=metrics, per_video={})
        write(packed, tmp_path)
    judge = [{"protocol": "packing@1", "metric": "filler"}, {"protocol": "packing@1", "metric": "speed"}]
    rows = {"article": {"packing": "navit"}, "against": [{"packing": "padding"}, {"packing": "bucket"}]}
    (found,) = judged(tmp_path, claim(judged=judge, **rows))
    assert [[gap.outcome for gap in other.gaps] for other in found.alternatives] == [
        ["better", "better"],
        ["tie", "tie"],
    ]
    assert claims_text.cells(found)[0][0].notes == ("counted",)
    assert found.outcome == "cannot be told apart" and found.budget.endswith("untrained")
    with pytest.raises(BadValue, match="which way is better"):
        judged(tmp_path, claim(judged=[{"protocol": "packing@1", "metric": "rows"}], **rows))


# ---------------------------------------------------------------------------------------------------- selectors


def test_a_swapped_part_takes_its_options_along():
    base = {"attention.name": "causal", "attention.history": "all", "backbone.patch": None}
    assert laid_over(base, {"attention.name": "full"}) == {"attention.name": "full", "backbone.patch": None}
    assert laid_over(base, {"attention.name": "causal"}) == base
    assert laid_over(base, {"attention.history": 4}) == {**base, "attention.history": 4}
    assert laid_over({}, base) == base and laid_over(base, {}) == base


def test_selectors_are_called_as_recipes_are():
    assert label_of({"attention.name": "causal", "attention.history": 4}) == "attention=causal(history=4)"
    assert (
        label_of({"attention.history": 4, "backbone.patch": [1, 2, 2]})
        == "attention.history=4, backbone.patch=[1, 2, 2]"
    )


def test_the_base_tells_rows_apart_that_an_axis_alone_does_not(folder):
    patch = {"name": "video_dit", "patch": [1, 1, 1]}
    short = {"name": "space_time_causal", "history": 4}
    for seed in made.SEEDS:
        write(with_options(row("long_range", seed, 0.7), backbone=patch), folder)
        write(with_options(row("long_range", seed, 0.9), attention=short), folder)
    with pytest.raises(
        BadValue, match=r"finds 3 rows of .* differ in attention.history \((4 \| all|all \| 4)\)"
    ) as error:
        judged(folder, claim())
    assert "backbone.patch" in str(error.value) and "to the base" in str(error.value)
    base = {
        "attention": "space_time_causal",
        "attention.history": "all",
        "backbone.patch": None,
        "rollout": "long_range",
    }
    rows = [{"backbone.patch": [1, 1, 1]}, {"attention": {"name": "space_time_causal", "history": 4}}]
    (found,) = judged(folder, claim(article={"attention": "space_time_causal"}, against=rows), base=base)
    values = [found.figures[0].value, *(other.gaps[0].theirs.value for other in found.alternatives)]
    assert np.diff(values) == pytest.approx([0.2, 0.2], abs=0.02)
    (again,) = judged(folder, claim(article={"rollout": "long_range"}, against=rows, base=base))
    assert [other.label for other in again.alternatives] == [other.label for other in found.alternatives]


def test_what_differs_besides_is_said(folder):
    for seed in made.SEEDS:
        record = row("full", seed, 0.7)
        train = {**record.recipe["train"], "generator": {"seed": seed, "lr": 1e-3}}
        write(with_options(record, train=train), folder)
    (found,) = judged(folder, claim(against=("full", "autoregressive")))
    assert [other.besides for other in found.alternatives] == ["train.generator.lr 0.001 for 0.002", ""]


def test_seeds_of_one_row_may_come_from_recipes_of_several_names(folder):
    for seed in (3, 4):
        renamed = with_options(row("long_range", seed, 0.5), suite={"name": "long500"})
        write(
            renamed.model_copy(update={"name": "attention", "recipe": renamed.recipe | {"name": "attention"}}), folder
        )
        write(row("autoregressive", seed, 0.6), folder)
    (found,) = judged(folder, claim())
    assert found.alternatives[0].gaps[0].seeds == 5


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"against": [{"rollout": "rolling"}]}, BadValue, "finds 0 rows .* no row has rollout.name=rolling, rows have"),
        ({"against": [{"rolout": "full"}]}, UnknownName, "no recipe .* has .* 'rolout'. Did you mean 'rollout'"),
        ({"against": [{"train.generator.lt": 1}]}, UnknownName, "Did you mean 'train.generator.lr'"),
        ({"against": [{"rollout": "long_range"}]}, BadValue, "finds the article's own row"),
        ({"against": [{"rollout": "full", "train.generator.lr": 1}]}, BadValue, "has train.generator.lr=1"),
        ({"judged": [{"protocol": "long500@1/maze/c250", "metric": PD}]}, UnknownName, f"Did you mean '{MAZE}'"),
        ({"judged": [{"protocol": MAZE, "metric": "pd_lite0_wobled"}]}, UnknownName, f"Did you mean '{PD}'"),
        ({"agianst": []}, UnknownName, "agianst"),
        ({"judged": []}, BadValue, "judged"),
        ({"article": {}}, BadValue, "article"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_and_cure(folder, change, error, words):
    with pytest.raises(error, match=words) as found:
        judged(folder, claim(**change))
    assert "claims.yaml" in str(found.value) and "\n" not in str(found.value)


def test_no_values_that_were_measured_differently_are_compared(folder):
    other = row("rolling", 0, 0.7)
    changed = {**other.metrics, PD: other.metrics[PD].model_copy(update={"key": f"pd v2; protocol={MAZE}"})}
    write(other.model_copy(update={"metrics": changed}), folder)
    with pytest.raises(BadValue, match="measured in different ways"):
        judged(folder, claim(against=("rolling",)))


# ---------------------------------------------------------------------------------------------------- outputs


def shown(folder: Path, capsys, *arguments: str) -> str:
    assert main([f"results={folder}", *arguments]) == 0
    return capsys.readouterr().out


def test_every_format_shows_claims_above_the_boards(folder, capsys, tmp_path):
    hostile = claim(title="<b>Memory</b>", says="[x](y) | <script>", note="A note.", ablation="ablations/long_range")
    judged(folder, hostile, claim(against=("hierarchical",)))
    text = shown(folder, capsys, "format=markdown")
    assert text.index("### &lt;b&gt;Memory&lt;/b&gt;: held") < text.index("### Memory: cannot be told apart")
    assert text.index("### Memory") < text.index("## long500 v1") and "\\[x\\](y) \\|" in text
    assert "| rollout=autoregressive | 0." in text and "✓ better; better in 3 of 3 seeds |" in text
    assert "A note. Made by recipe=ablations/long\\_range." in text.replace("long_range.", "long\\_range.")
    table = shown(folder, capsys)
    assert table.index("✓ held") < table.index("long500 v1") and "[x](y) | <script>" in table
    page = tmp_path / "page.html"
    shown(folder, capsys, "format=html", f"out={page}")
    html = page.read_text()
    assert html.index('id="claims"') < html.index('id="pool0"') and "&lt;b&gt;Memory&lt;/b&gt;" in html
    assert html.count('<article class="claim held"') == 1
    assert html.count('<article class="claim undecided"') == 1
    assert 'href="#claims"' in html and "<script>" not in html.split("</article>")[0].split("<main>")[1]
    first = html.split("<article")[1]
    opened = first.split('data-open="')[1].split('"')[0]
    assert f'<dialog id="{opened}">' in html
    assert not collect([folder]).broken


def test_without_a_claims_file_nothing_is_shown(folder, capsys, tmp_path):
    assert judged_claims([folder]) == [] and claims_text.markdown([]) == claims_text.tables([]) == []
    assert not shown(folder, capsys, "format=markdown").startswith("## Claims")
    shown(folder, capsys, "format=html", f"out={tmp_path / 'page.html'}")
    assert "claim" not in (tmp_path / "page.html").read_text()


def test_claims_follow_their_suite_and_csv_has_none(folder, capsys):
    judged(folder, claim())
    write(made.make("long_range", 20.0), folder)
    assert "Memory: held" in shown(folder, capsys, "format=markdown", "suite=long500", "pool=none")
    assert "Memory" not in shown(folder, capsys, "format=markdown", "suite=quickstart")
    assert "Memory" not in shown(folder, capsys, "format=csv")


def test_a_broken_claims_file_stops_the_board_with_one_sentence(folder):
    (folder / "claims.yaml").write_text("claims: [")
    with pytest.raises(UserError, match=r"claims\.yaml"):
        main([f"results={folder}", "format=markdown"])


def test_publishing_leaves_a_claims_file_alone(folder, tmp_path):
    judged(folder, claim())
    target = tmp_path / "out"
    target.mkdir()
    (target / "claims.yaml").write_bytes(b"claims: mine\n")
    assert publish([f"results={folder}", f"out={target}"]) == 0
    assert (target / "claims.yaml").read_bytes() == b"claims: mine\n"


@pytest.mark.parametrize("style", sorted(STYLES.values()))
def test_a_card_shares_no_class_with_what_the_page_has_already(style):
    """A tied claim once looked like a button: both were called "open"."""
    others = (ROOT / "benchmarks" / name for name in ("leaderboard.css", "leaderboard_wall.css"))
    assert not any(re.search(rf"\.{style}\b", sheet.read_text(encoding="utf-8")) for sheet in others)
