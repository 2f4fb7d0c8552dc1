"""Teachers of Hugging Face: tiny models written here, and what may be wrong with a folder."""

from __future__ import annotations

import json
import shutil
import socket
import sys

from depth_kd_ros.networks.base import DepthNetwork
from depth_kd_training.hugging_face import HuggingFaceTeacher
import pytest
import torch
import torch.nn.functional as F

transformers = pytest.importorskip('transformers', reason='the extra hugging-face is not here')

IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
PROCESSORS = {  # what the published ones say
    'depth_anything': IMAGENET
    | {
        'do_normalize': True,
        'do_rescale': True,
        'do_resize': True,
        'ensure_multiple_of': 14,
        'keep_aspect_ratio': True,
        'rescale_factor': 1 / 255,
        'size': {'height': 518, 'width': 518},
    },
    'dpt': {
        'do_normalize': True,
        'image_mean': [0.5, 0.5, 0.5],
        'image_std': [0.5, 0.5, 0.5],
        'keep_aspect_ratio': False,
        'size': {'height': 64, 'width': 64},
    },
    'glpn': {'do_rescale': True, 'do_resize': True, 'size_divisor': 32},
}
GIVEN = {  # what the configs do not say
    'depth_anything': {},
    'dpt': {'metric': False, 'output': 'inverse_depth'},
    'glpn': {'metric': True, 'output': 'depth'},
}


def dinov2():
    return transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=42,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )


def depth_anything(**options):
    config = transformers.DepthAnythingConfig(
        backbone_config=dinov2(),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
        **options,
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def dpt():
    config = transformers.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=64,
        patch_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
        backbone_out_indices=[0, 1, 2, 3],
    )
    return transformers.DPTForDepthEstimation(config)


def glpn():
    config = transformers.GLPNConfig(
        hidden_sizes=[4, 8, 12, 16],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
    )
    return transformers.GLPNForDepthEstimation(config)


def write(folder, model, processor):
    with torch.no_grad():
        for parameter in model.head.parameters():  # so that its last ReLU lets something through
            parameter.abs_().add_(0.1)
    model.save_pretrained(folder)
    (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Write a tiny random model of each kind."""
    torch.manual_seed(5)
    root = tmp_path_factory.mktemp('models')
    models = {'depth_anything': depth_anything(), 'dpt': dpt(), 'glpn': glpn()}
    return {kind: write(root / kind, model, PROCESSORS[kind]) for kind, model in models.items()}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError('asked the network')

    for name in ('connect', 'connect_ex', 'sendto'):
        monkeypatch.setattr(socket.socket, name, fail)
    monkeypatch.setattr(socket, 'getaddrinfo', fail)


@pytest.fixture(params=['depth_anything', 'dpt', 'glpn'])
def kind(request):
    return request.param


def teacher_of(folders, kind, **options):
    return HuggingFaceTeacher(folders[kind], **GIVEN[kind], **options)


def original(folder):
    return transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()


# --- what a teacher gives


@pytest.mark.parametrize('size', [(97, 131), (1, 1), (33, 50), (64, 96)])
def test_prediction_has_the_size_of_the_image(folders, kind, size):
    teacher = teacher_of(folders, kind)
    assert isinstance(teacher, DepthNetwork) and not teacher.training
    assert teacher.inputs == ('image',)
    image = torch.randn(2, 3, *size)
    with torch.inference_mode():
        full, lean = teacher(image), teacher(image, None, features=False)
    assert full.depth.shape == (2, 1, *size)
    assert full.depth.isfinite().all()
    assert full.depth.std() > 0 or size == (1, 1)
    assert full.confidence is None and lean.features == {}
    assert torch.equal(full.depth, lean.depth)


@pytest.mark.parametrize(
    ('kind', 'size', 'inside'),  # worked by hand
    [
        ('depth_anything', (42, 70), (42, 70)),
        ('depth_anything', (97, 131), (98, 126)),  # 6.93 and 9.36 patches of 14
        ('depth_anything', (5, 22), (14, 28)),
        ('dpt', (97, 131), (64, 64)),
        ('glpn', (97, 131), (96, 128)),
        ('glpn', (1, 50), (32, 64)),
    ],
)
def test_depth_is_the_models_own_at_the_nearest_size_that_it_takes(folders, kind, size, inside):
    image = torch.randn(2, 3, *size)
    with torch.inference_mode():
        found = teacher_of(folders, kind)(image).depth
        pixels = F.interpolate(image, inside, mode='bilinear', align_corners=False)
        expected = original(folders[kind])(pixels).predicted_depth
        expected = F.interpolate(expected.unsqueeze(1), size, mode='bilinear', align_corners=False)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)


def test_runs_at_another_resolution_where_asked(folders):
    teacher = teacher_of(folders, 'depth_anything', shorter_side_px=70)
    image = torch.randn(1, 3, 97, 131)  # times 70 / 97 is 70 x 94.5: 5 x 6.75 patches
    with torch.inference_mode():
        prediction = teacher(image)
    assert prediction.depth.shape == (1, 1, 97, 131)
    assert prediction.features['H0'].shape == (1, 16, 5, 7)


@pytest.mark.parametrize('side', [0, -1, 2.5, True, '518'])
def test_rejects_a_resolution_that_is_none(folders, side):
    with pytest.raises(ValueError, match=r'shorter_side_px = .* give a whole number >= 1'):
        teacher_of(folders, 'depth_anything', shorter_side_px=side)


def test_features_of_a_transformer_are_its_patches_as_maps(folders):
    image = torch.randn(2, 3, 42, 70)
    with torch.inference_mode():
        features = teacher_of(folders, 'depth_anything')(image).features
        states = original(folders['depth_anything'])(image, output_hidden_states=True)
    assert list(features) == ['H0', 'H1', 'H2', 'H3', 'H4']
    for n, tokens in enumerate(states.hidden_states):
        assert tokens.shape == (2, 1 + 3 * 5, 16)
        assert features[f'H{n}'].shape == (2, 16, 3, 5)
        assert torch.equal(features[f'H{n}'][1, :, 2, 4], tokens[1, 1 + 2 * 5 + 4])
        assert torch.equal(features[f'H{n}'][0, :, 0, 1], tokens[0, 2])


def test_features_of_other_models(folders):
    image = torch.randn(2, 3, 97, 131)
    with torch.inference_mode():
        found = {kind: teacher_of(folders, kind)(image).features for kind in ('dpt', 'glpn')}
    assert {key: tuple(f.shape) for key, f in found['dpt'].items()} == {
        f'H{n}': (2, 16, 4, 4) for n in range(5)
    }
    assert {key: tuple(f.shape) for key, f in found['glpn'].items()} == {
        'H0': (2, 4, 24, 32),
        'H1': (2, 8, 12, 16),
        'H2': (2, 12, 6, 8),
        'H3': (2, 16, 3, 4),
    }


def test_backbone_patch_goes_before_the_models_own(tmp_path):
    config = transformers.DPTConfig(
        backbone_config=dinov2(),
        hidden_size=16,
        neck_hidden_sizes=[4, 8, 16, 16],
        fusion_hidden_size=8,
    )
    assert config.patch_size == 16
    processor = PROCESSORS['dpt'] | {'keep_aspect_ratio': True}
    folder = write(tmp_path, transformers.DPTForDepthEstimation(config), processor)
    prediction = HuggingFaceTeacher(folder, **GIVEN['dpt'])(torch.randn(1, 3, 97, 131))
    assert prediction.features['H4'].shape == (1, 16, 7, 9)


def test_gradients_reach_the_image(folders, kind):
    """A transformation network learns through its frozen teacher."""
    teacher = teacher_of(folders, kind).requires_grad_(False)
    image = torch.randn(1, 3, 33, 50, requires_grad=True)
    teacher(image).depth.mean().backward()
    assert image.grad.any()


def test_says_whether_its_depth_is_metric(folders, tmp_path):
    relative = teacher_of(folders, 'depth_anything')
    assert (relative.metric, relative.output) == (False, 'inverse_depth')
    model = depth_anything(depth_estimation_type='metric', max_depth=20)
    folder = write(tmp_path, model, PROCESSORS['depth_anything'])
    metric = HuggingFaceTeacher(folder)
    assert (metric.metric, metric.output) == (True, 'depth')
    given = HuggingFaceTeacher(folder, metric=True, output='depth')
    assert (given.metric, given.output) == (True, 'depth')
    assert (relative.metric, relative.output) == (False, 'inverse_depth')


def test_half_precision_file_becomes_float32(tmp_path):
    folder = write(tmp_path, depth_anything().half(), PROCESSORS['depth_anything'])
    teacher = HuggingFaceTeacher(folder)
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}


# --- how its images are normalised


def with_processor(folders, tmp_path, kind, **changes):
    """Copy a model and change its image processor; None removes a key."""
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    values = PROCESSORS[kind] | changes
    values = {key: value for key, value in values.items() if value is not None}
    (folder / 'preprocessor_config.json').write_text(json.dumps(values))
    return folder


TO_ONE = {'rescale_factor': 1 / 127.5, 'image_mean': [1] * 3, 'image_std': [1] * 3}
OF_BYTES = {'do_rescale': False, 'image_mean': [127.5] * 3, 'image_std': [51] * 3}


@pytest.mark.parametrize(
    ('kind', 'changes', 'mean', 'std'),
    [
        ('depth_anything', {}, IMAGENET['image_mean'], IMAGENET['image_std']),
        ('depth_anything', {'do_normalize': False}, [0, 0, 0], [1, 1, 1]),
        ('dpt', {}, [0.5] * 3, [0.5] * 3),
        ('glpn', {}, [0, 0, 0], [1, 1, 1]),
        ('dpt', TO_ONE, [0.5] * 3, [0.5] * 3),  # rgb / 127.5 - 1 = (rgb / 255 - 0.5) / 0.5
        ('dpt', OF_BYTES, [0.5] * 3, [0.2] * 3),  # (rgb - 127.5) / 51 = (rgb / 255 - 0.5) / 0.2
    ],
)
def test_normalisation_is_the_models_own(folders, tmp_path, kind, changes, mean, std):
    folder = with_processor(folders, tmp_path, kind, **changes)
    normalisation = HuggingFaceTeacher(folder, **GIVEN[kind]).normalisation
    assert normalisation.mean == pytest.approx(mean)
    assert normalisation.std == pytest.approx(std)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'image_mean': None}, 'image_mean = None: needs a list of three numbers'),
        ({'image_std': [1, 2]}, r'image_std = \[1, 2\]: needs a list of three numbers'),
        ({'image_std': [1, 2, 'a']}, r"image_std = \[1, 2, 'a'\]: needs a list of three numbers"),
        ({'image_std': [1, 0, 1]}, r'image_std = \[1, 0, 1\]: needs positive numbers'),
        ({'size': {'shortest_edge': 64}}, 'size = .* needs height and width'),
        ({'size': 2.5}, r'size = 2\.5: needs height and width'),
    ],
)
def test_bad_image_processor_is_one_clear_sentence(folders, tmp_path, changes, message):
    folder = with_processor(folders, tmp_path, 'dpt', **changes)
    with pytest.raises(ValueError, match=f'preprocessor_config.json: {message}'):
        HuggingFaceTeacher(folder, **GIVEN['dpt'])


def test_size_as_one_number_is_a_square(folders, tmp_path):
    folder = with_processor(folders, tmp_path, 'dpt', size=32)
    features = HuggingFaceTeacher(folder, **GIVEN['dpt'])(torch.randn(1, 3, 50, 70)).features
    assert features['H0'].shape == (1, 16, 2, 2)


# --- what may be wrong


def test_absent_extra_is_one_clear_sentence(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(RuntimeError, match=r"pip install 'depth_kd_ros\[hugging-face\]'"):
        teacher_of(folders, 'dpt')


def test_absent_folder_is_one_clear_sentence(tmp_path):
    for name in ('nothing', 'depth-anything/Depth-Anything-V2-Small-hf'):
        with pytest.raises(ValueError, match=f'{name}: no such folder: give that of a model'):
            HuggingFaceTeacher(tmp_path / name)


@pytest.mark.parametrize('name', ['config.json', 'preprocessor_config.json'])
def test_absent_or_broken_file_is_one_clear_sentence(folders, tmp_path, name):
    folder = shutil.copytree(folders['dpt'], tmp_path / 'dpt')
    for content, message in (
        ('{"a', 'not JSON'),
        ('[]', 'list instead of an object'),
        (None, 'no such file: write model and image processor there'),
    ):
        (folder / name).unlink() if content is None else (folder / name).write_text(content)
        with pytest.raises(ValueError, match=f'/{name}: {message}'):
            HuggingFaceTeacher(folder, **GIVEN['dpt'])


def test_model_of_another_task_is_refused(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    message = r"config.json: architectures = \['ViTForImageClassification'\]: give a model .*Depth"
    with pytest.raises(ValueError, match=message):
        HuggingFaceTeacher(tmp_path, metric=True, output='depth')


def changed_config(folders, tmp_path, kind, **changes):
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    'changes',
    [
        {'backbone': 'facebook/dinov2-small', 'backbone_config': None},
        {'use_pretrained_backbone': True},
        {'backbone_config': {'model_type': 'timm_backbone', 'backbone': 'resnet18'}},
    ],
)
def test_backbone_that_would_be_fetched_is_refused(folders, tmp_path, changes):
    folder = changed_config(folders, tmp_path, 'depth_anything', **changes)
    with pytest.raises(ValueError, match=r'config.json: backbone = .* would be fetched'):
        HuggingFaceTeacher(folder)


def test_unknown_architecture_and_its_code_are_refused(folders, tmp_path):
    code = {'AutoConfig': 'modeling.NewConfig', 'AutoModelForDepthEstimation': 'modeling.New'}
    folder = changed_config(folders, tmp_path, 'dpt', model_type='novelty', auto_map=code)
    (folder / 'modeling.py').write_text('raise SystemExit("ran the code of a model")')
    with pytest.raises(ValueError, match='transformers cannot load this model: '):
        HuggingFaceTeacher(folder, **GIVEN['dpt'])


def test_pickled_weights_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders['dpt'], tmp_path / 'dpt')
    (folder / 'model.safetensors').unlink()
    torch.save(original(folders['dpt']).state_dict(), folder / 'pytorch_model.bin')
    with pytest.raises(ValueError, match=r'cannot load this model: .*model\.safetensors'):
        HuggingFaceTeacher(folder, **GIVEN['dpt'])


def test_damaged_and_incomplete_weights_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders['dpt'], tmp_path / 'dpt')
    path = folder / 'model.safetensors'
    tensors = load_file(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='dpt: transformers cannot load this model: '):
        HuggingFaceTeacher(folder, **GIVEN['dpt'])
    del tensors['head.head.4.bias']
    save_file(tensors, path, {'format': 'pt'})
    with pytest.raises(ValueError, match=r'dpt: 1 weights are missing: head\.head\.4\.bias'):
        HuggingFaceTeacher(folder, **GIVEN['dpt'])


@pytest.mark.parametrize(
    'given',
    [
        {},
        {'metric': True},
        {'output': 'depth'},
        {'metric': True, 'output': 'inverse_depth'},
        {'metric': 1, 'output': 'depth'},
        {'metric': False, 'output': 'disparity'},
    ],
)
def test_kind_of_depth_must_be_given_where_the_config_is_silent(folders, given):
    message = r"config.json has no depth_estimation_type, .* give metric = True, output = 'depth'"
    with pytest.raises(ValueError, match=message):
        HuggingFaceTeacher(folders['glpn'], **given)


@pytest.mark.parametrize('given', [{'metric': True}, {'output': 'depth'}])
def test_kind_of_depth_may_not_contradict_the_config(folders, given):
    message = r"depth_estimation_type = 'relative' means metric = False, output = 'inverse_depth'"
    with pytest.raises(ValueError, match=message):
        HuggingFaceTeacher(folders['depth_anything'], **given)


def test_wrong_image_is_refused_as_by_every_network(folders):
    with pytest.raises(ValueError, match=r'image has shape \(1, 1, 32, 48\): give'):
        teacher_of(folders, 'dpt')(torch.randn(1, 1, 32, 48))
