"""Recipes: strict, and every error names the file, the key and what to write instead."""

from __future__ import annotations

from depth_kd_training import config
from depth_kd_training.config import ConfigError
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
