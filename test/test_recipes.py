"""Bundled recipes and studies: all can be opened, and hold the papers' numbers."""

from __future__ import annotations

from depth_kd_ros import checkpoint, networks
from depth_kd_ros.plugins import configure
from depth_kd_training import config, data, distillation, learning, opening, study_loading
from depth_kd_training.study_plan import Plan
import pytest

# What stands for a recipe's teacher: as it, with fewer parameters.
TEACHERS = {
    'lspkd_teacher': ('lspkd_teacher', {'width': 1 / 8}),
    'mff_teacher': ('mff_mobilenet_v2', {}),
    'relative_teacher': ('relative_topformer_tiny', {'output': 'depth'}),
}
KITTI, NYU, SCANNET, SCENENET = 85_898, 47_584, 204_000, 50_000  # frames to train with


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    """Give the recipe's override that names a random teacher."""
    folder = tmp_path_factory.mktemp('teachers')

    def override(recipe):
        if recipe.teacher is None:
            return []
        kind = next(name for name in TEACHERS if recipe.teacher.checkpoint.startswith(name))
        path = folder / f'{kind}.safetensors'
        if not path.exists():
            preset, options = TEACHERS[kind]
            name, defaults = networks.presets()[preset]
            checkpoint.save(
                path, networks.build(name, {**defaults, **options}),
                normalisation=(recipe.data.mean, recipe.data.std), depth_range_m=(0.5, 80.0),
                training={}, licence='Apache-2.0',
            )  # fmt: skip
        return [f'teacher.checkpoint={path}']

    return override


@pytest.mark.parametrize('name', config.RECIPES.available())
def test_all_that_a_recipe_names_can_be_opened(teacher, name):
    recipe = config.load(name, teacher(config.load(name)))
    learning.check(recipe)
    opening.open_augmentation(recipe)
    for source in (*recipe.data.labelled, *recipe.data.unlabelled, *recipe.data.validation):
        configure(data.find(source.dataset), 'dataset', source.dataset, source.options)
    student = opening.open_network(recipe)
    assert student.metric or recipe.supervision.target == 'none'
    methods = opening.open_methods(recipe, student, opening.open_teacher(recipe))
    assert list(methods) == [method.name for method in recipe.methods]
    text = (config.RECIPES.folder / f'{name}.yaml').read_text()
    assert text.startswith('# ') and len(config.RECIPES.summary(name)) <= 97


def test_every_method_has_a_recipe():
    named = {m.name for name in config.RECIPES.available() for m in config.load(name).methods}
    assert named == set(distillation.available())


@pytest.mark.parametrize(
    ('name', 'preset', 'batch', 'epochs', 'frames', 'weights'),
    [
        ('lspkd_teacher', 'lspkd_teacher', 8, 20, KITTI, {}),
        ('none', 'lspkd_s2', 16, 20, KITTI, {'none': 1}),
        ('response', 'lspkd_s2', 16, 20, KITTI, {'response': 1}),
        ('local_similarity', 'lspkd_s2', 16, 20, KITTI, {'response': 1, 'local_similarity': 1}),
        ('probabilistic', 'lspkd_s2', 16, 20, KITTI, {'response': 1, 'probabilistic': 30000}),
        ('attention', 'lspkd_s2', 16, 20, KITTI, {'response': 1, 'attention': 1000}),
        ('lspkd_prob_att', 'lspkd_s2', 16, 20, KITTI,
         {'response': 1, 'local_similarity': 1, 'probabilistic': 30000, 'attention': 1000}),
        ('global_similarity', 'lspkd_s2', 12, 20, KITTI, {'response': 1, 'global_similarity': 1}),
        ('sparse_supervision', 'lspkd_s2', 16, 20, KITTI, {'response': 1, 'local_similarity': 1}),
        ('lspkd_teacher_nyu', 'lspkd_teacher', 32, 15, NYU, {}),
        ('local_similarity_nyu', 'lspkd_s8', 32, 15, NYU,
         {'response': 1, 'local_similarity': 0.1}),
    ],
)  # fmt: skip
def test_jeong(name, preset, batch, epochs, frames, weights):
    recipe = config.load(name)
    assert (recipe.network.preset, recipe.data.batch) == (preset, batch)
    assert 0 <= recipe.steps - epochs * frames / batch < 1
    assert {m.name: m.weight for m in recipe.methods} == weights
    optimisation = recipe.optimisation
    assert (optimisation.optimiser, optimisation.rate) == ('adam', 1e-3)
    assert (optimisation.betas, optimisation.schedule) == ((0.9, 0.999), 'constant')
    assert recipe.supervision.losses == {'l1': 1.0}
    sparse = name == 'sparse_supervision'
    assert recipe.supervision.target == ('input_points' if sparse else 'ground_truth')
    crop = None if 'nyu' in name else [240, 912]
    assert recipe.data.augmentation.get('crop') == crop


@pytest.mark.parametrize(
    ('name', 'preset', 'losses'),
    [
        ('depth_only_b', 'depth_only_b', {'l2': 1.0}),
        ('depth_only_bi', 'depth_only_bi', {'l2': 1.0}),
        ('image_reconstruction', 'depth_only', {'l2': 1.0}),
        ('image_reconstruction_l1', 'depth_only', {'l1': 1.0}),
    ],
)
def test_lu(name, preset, losses):
    recipe = config.load(name)
    assert (recipe.network.preset, recipe.supervision.losses) == (preset, losses)
    weights = [method.weight for method in recipe.methods]
    assert weights == ([] if preset == 'depth_only_b' else [1e-4])
    optimisation = recipe.optimisation
    assert (optimisation.optimiser, optimisation.rate, optimisation.decay) == ('adam', 1e-3, 0.5)
    assert optimisation.decay_every == round(5 * KITTI / 16) and recipe.data.batch == 16
    assert recipe.data.augmentation == {'crop': [352, 1216], 'crop_from': 'bottom'}


@pytest.mark.parametrize(
    ('name', 'preset', 'frames', 'decay', 'losses'),
    [
        ('mff_teacher', 'mff_resnet34', NYU, 0.1, {'structure': 1.0}),
        ('mff_student', 'mff_mobilenet_v2', NYU, 0.1, {'structure': 1.0}),
        ('structure_response', 'mff_mobilenet_v2', NYU + SCANNET, 0.1, {'structure': 0.9}),
        ('auxiliary_labelled', 'mff_mobilenet_v2', NYU + SCANNET, 0.1, {'structure': 0.9}),
        ('data_free', 'mff_mobilenet_v2', SCENENET, 0.5, None),
        ('out_of_distribution', 'mff_mobilenet_v2', SCENENET, 0.5, None),
        ('random_noise', 'mff_mobilenet_v2', SCENENET, 0.5, None),
        ('perturbation', 'mff_mobilenet_v2', SCENENET, 0.5, None),
        ('adversarial', 'mff_mobilenet_v2', SCENENET, 0.5, None),
    ],
)
def test_hu(name, preset, frames, decay, losses):
    recipe = config.load(name)
    assert (recipe.network.preset, recipe.data.batch) == (preset, 8)
    assert recipe.steps == round(20 * frames / 8)
    assert all(method.weight == 1 for method in recipe.methods)
    if losses:
        assert recipe.supervision.losses == losses
    else:
        assert recipe.supervision.target == 'none' and not recipe.data.labelled
    optimisation = recipe.optimisation
    assert (optimisation.optimiser, optimisation.rate) == ('adam', 1e-4)
    assert (optimisation.weight_decay, optimisation.schedule) == (1e-4, 'staircase')
    assert (optimisation.decay, optimisation.decay_every) == (decay, round(5 * frames / 8))


def test_data_free_is_set_as_published():
    (method,) = config.load('data_free').methods
    found = distillation.find('data_free').Config(**method.options)
    assert (found.bn_weight, found.reconstruction_weight, found.rate) == (1e-3, 1e-3, 1e-4)
    assert found.transformation == 'paper' and found.weight_decay == 1e-4
    (ood,) = config.load('out_of_distribution').methods
    assert ood.options == {'mixing': 'none', 'transformation': 'none'}


@pytest.mark.parametrize('name', study_loading.STUDIES.available())
def test_tiny_studies_are_small_and_full_ones_as_published(name, tmp_path):
    tiny, _ = study_loading.load(name, 'tiny')
    full, _ = study_loading.load(name, 'full')
    assert len(full.seeds) == 3
    assert len(tiny.seeds) == (3 if name in ('lspkd', 'auxiliary_data', 'data_free') else 1)
    for chosen in tiny.sets.values():
        assert chosen.size[0] * chosen.size[1] <= 96 * 304
    assert set(tiny.rows) == set(full.rows) and tiny.orders
    every = {row: Plan(tiny, tmp_path).job(row, 0).recipe for row in tiny.rows}
    assert all(recipe.data.batch == 8 and recipe.steps <= 2500 for recipe in every.values())
    test = {source.options['root'] for source in tiny.evaluate.values()}
    for recipe in every.values():
        learnt = (*recipe.data.labelled, *recipe.data.unlabelled, *recipe.data.validation)
        assert learnt and not test & {source.options['root'] for source in learnt}
    seeds = [(s.world, s.sensor, s.seed, s.randomised) for s in tiny.sets.values()]
    assert len(tiny.sets) - len(set(seeds)) <= 1  # one set may be the first part of another


def gap(study):
    """Give the share of the gap that the paper's LSPKD closes."""
    teacher, student, own = (study.paper[row]['rmse'] for row in ('teacher', 'student', 'lspkd'))
    return (student - own) / (student - teacher)


@pytest.mark.parametrize(('name', 'share'), [('lspkd', 0.506), ('lspkd_indoor', 0.353)])
def test_the_published_gap_is_closed_as_the_paper_says(name, share):
    study, _ = study_loading.load(name)
    assert gap(study) == pytest.approx(share, abs=5e-4)


def test_layers_are_those_of_table_3(tmp_path):
    study, _ = study_loading.load('lspkd_layers', 'full')
    plan, default = Plan(study, tmp_path), distillation.find('local_similarity').Config().taps
    rows = [row for row in study.rows if row not in ('teacher', 'student')]
    assert len(rows) == 12
    for row in rows:
        wanted = []
        for part in row.split('+'):
            kind, first, last = part[0], int(part[1]), int(part[-1])
            names = [f'{kind}{n}' for n in range(first, last + 1)]
            encoders = [f'{e}.{n}' for e in ('rgb', 'lidar') for n in names]
            wanted += encoders if kind == 'E' else names
        method = plan.job(row, 0).recipe.methods[-1]
        assert tuple(method.options.get('taps', default)) == tuple(wanted), row


@pytest.mark.parametrize('preset', ['tiny', 'full'])
def test_tables_of_one_paper_share_runs(tmp_path, preset):
    def folder(name, row):
        return Plan(study_loading.load(name, preset)[0], tmp_path).job(row, 0).folder

    for name, row, other in (
        ('lspkd_sparse_supervision', 'teacher', 'teacher'),
        ('lspkd_layers', 'student', 'student'),
        ('lspkd_layers', 'E1-E3+D1-D3', 'lspkd'),
    ):
        assert folder(name, row) == folder('lspkd', other)
    if preset == 'tiny':  # in full it is trained in batches of 12
        assert folder('lspkd_global', 'lspkd') == folder('lspkd', 'lspkd')
    for row in ('teacher', 'noise', 'ood'):
        assert folder('data_free_sources', row) == folder('data_free', row)
    assert folder('data_free_pairs', 'mobilenet_v2_ours') == folder('data_free', 'ours')
    for row in ('teacher', 'student'):
        assert folder('data_free_completion', row) == folder('lspkd', row)
