"""The quickstart at a size that runs in seconds, shared by tests that go all the way from a recipe to a record."""

TINY = [
    "recipe=quickstart",
    "rollout=autoregressive",
    "dataset.train=2",
    "dataset.validation=0",
    "dataset.test=1",
    "dataset.frames=24",
    "dataset.lap=[8,12]",
    "train.tokenizer.steps=2",
    "train.tokenizer.batch=4",
    "train.generator.steps=2",
    "train.generator.batch=2",
    "tokenizer.width=8",
    "backbone={width: 16, depth: 1, heads: 2}",
    "solver.steps=2",
    "suite.episodes=2",
    "suite.frames=24",
    "suite.context=12",
    "suite.metrics=[psnr]",
    "suite.controls=[copy_last]",
]
