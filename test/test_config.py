"""Recipes: strict, and every error names the file, the key and what to write instead."""

from __future__ import annotations

from depth_kd_training import config
from depth_kd_training.recipe import ConfigError
import pytest


def recipe(tmp_path, text, *overrides):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    return config.load(path, overrides)


def test_differences_from_the_defaults(tmp_path):
    found = recipe(
        tmp_path, 'optimisation: {rate: 0.01}\ndata: {batch: 3, mean: [0.5, 0.5, 0.5]}\n'
    )
    assert found.optimisation.rate == 0.01 and found.data.mean == (0.5,) * 3
    assert found.steps == config.Recipe().steps
    assert recipe(tmp_path, '') == config.Recipe()


def test_overrides_are_read_as_yaml(tmp_path):
    words = ('optimisation.rate=1e-2', 'data.std=[1, 2, 3]', 'seed=5', 'optimisation.clip=null')
    found = recipe(tmp_path, 'seed: 4\n', *words)
    assert (found.optimisation.rate, found.data.std, found.seed) == (0.01, (1, 2, 3), 5)
    assert found.optimisation.clip is None


def test_a_recipe_comes_back_from_its_json(tmp_path):
    found = recipe(tmp_path, 'data: {labelled: [{dataset: noise, options: {frames: 3}}]}\n')
    assert config.Recipe.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'optimisation: {rat: 1}',
            r"mine\.yaml: unknown key 'optimisation\.rat'; did you mean 'optimisation\.rate'",
        ),
        ('dataa: {}', r"unknown key 'dataa'; did you mean 'data'"),
        (
            'data: {labelled: [{dataset: a, shar: 1}]}',
            r"unknown key 'data\.labelled\.0\.shar'; did you mean 'data\.labelled\.0\.share'",
        ),
        ('methods: [{nam: a}]', r"unknown key 'methods\.0\.nam'; did you mean 'methods\.0\.name'"),
        ('steps: 0', r'mine\.yaml: steps = 0: Input should be greater than or equal to 1'),
        ('steps: many', r"steps = 'many': Input should be a valid integer"),
        ('optimisation: {schedule: cos}', r"schedule = 'cos': Input should be 'constant', "),
        ('data: {mean: [1]}', r'data\.mean'),
        ('- 1', r'mine\.yaml: \[1\]: keys and values expected'),
        ('a: [', r'mine\.yaml: not readable as YAML'),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_told(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        recipe(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        recipe(tmp_path, 'step: 3\nseed: -1\n')
    assert "'step'; did you mean 'steps'" in str(error.value) and 'seed = -1' in str(error.value)


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('seed', r"'seed': KEY=VALUE expected"),
        ('=3', 'KEY=VALUE expected'),
        ('seed.a=3', r"'seed' holds 4, no keys"),
        ('seed=[', 'the value is not readable as YAML'),
        ('optimisation.rte=3', r"unknown key 'optimisation\.rte'; did you mean"),
    ],
)
def test_a_wrong_override_is_told(tmp_path, word, message):
    with pytest.raises(ConfigError, match=message):
        recipe(tmp_path, 'seed: 4\n', word)


def test_a_missing_recipe_lists_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match=r"no recipe 'nothing'\. Give one of .* YAML file"):
        config.load('nothing')


def test_an_override_reaches_into_lists(tmp_path):
    text = 'data: {labelled: [{dataset: folder, options: {root: a}}, {dataset: noise}]}'
    words = 'data.labelled.0.options.root=b', 'data.labelled.1.share=0.5'
    first, second = recipe(tmp_path, text, *words).data.labelled
    assert first.options == {'root': 'b'} and second.share == 0.5
    with pytest.raises(ConfigError, match=r"'2': give a number from 0 to 1"):
        recipe(tmp_path, text, 'data.labelled.2.share=1')
    with pytest.raises(ConfigError, match=r"'first': give a number from 0 to 1"):
        recipe(tmp_path, text, 'data.labelled.first.share=1')


def test_recipes_are_compared_key_by_key(tmp_path):
    one = recipe(tmp_path, 'seed: 1\ndata: {mean: [0, 0, 0]}')
    other = recipe(tmp_path, 'seed: 2\ndata: {mean: [0, 0.5, 0]}', 'supervision.losses={l2: 1.0}')
    assert config.differences(one, one) == []
    assert config.differences(one, other) == [
        'data.mean.1 = 0.0, not 0.5',
        'supervision.losses.l1 = 1.0, not None',
        'supervision.losses.l2 = None, not 1.0',
        'seed = 1, not 2',
    ]
    moved = recipe(tmp_path, 'seed: 1\ndata: {mean: [0, 0, 0], workers: 7}\nsave_every_s: 5')
    assert config.differences(one, moved) == []


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('depth_range_m: [80, 2]', r'depth_range_m = \[80, 2\]: .*nearest depth first'),
        ('data: {std: [1, 0, 1]}', r'data\.std\.1 = 0: .*greater than 0'),
        ('optimisation: {betas: [0.9, 1]}', r'optimisation\.betas\.1 = 1'),
    ],
)
def test_numbers_that_no_run_could_use_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        recipe(tmp_path, text)
