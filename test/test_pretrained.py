"""Public ImageNet weights: files as torchvision writes them, and files that must be refused."""

from __future__ import annotations

from collections import OrderedDict
import os
import pickle

from depth_kd_ros.networks import lspkd, mff
from depth_kd_ros.networks.encoders.mobilenet_v2 import MobileNetV2
from depth_kd_ros.networks.encoders.pretrained import encoder_of, load_encoder_weights
from depth_kd_ros.networks.encoders.resnet import ResNet, stage
import pytest
import safetensors.torch
import torch
from torch import nn
import torchvision_tables


@pytest.fixture
def small():
    """Make a stand-in encoder of 15 tensors, two of them batch counters."""
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(layer1=stage(2, 4, 1), bn=nn.BatchNorm2d(4)))


def state(encoder):
    """Draw what a file would hold for an encoder."""
    return torchvision_tables.fabricate(torchvision_tables.shapes(encoder))


def save(path, content):
    """Write a file of weights in the format that its suffix says."""
    if path.suffix == '.safetensors':
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def holds(encoder, tensors):
    """Tell whether an encoder's tensors are these, ignoring those it does not have."""
    return all(torch.equal(value, tensors[key]) for key, value in encoder.state_dict().items())


def unchanged(encoder, path, match):
    """Expect an error that names the file, and not one tensor touched."""
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=match) as caught:
        load_encoder_weights(encoder, path)
    assert str(caught.value).startswith(f'{path}: ')
    assert holds(encoder, before)
    return str(caught.value)


# --- what fits


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_resnet_34_takes_torchvisions_file(tmp_path, suffix):
    tensors = torchvision_tables.fabricate(torchvision_tables.TABLES['resnet34'])
    path = save(tmp_path / f'resnet34.{suffix}', tensors)
    encoder = ResNet('resnet34')
    report = load_encoder_weights(encoder, path)
    assert holds(encoder, tensors)
    assert report.path == path
    assert set(report.loaded) == set(encoder.state_dict())
    assert report.unused == ('fc.bias', 'fc.weight')
    assert report.absent == ()
    assert str(report) == (
        f'{path}: loaded 216 tensors into the encoder; no use for fc.bias, fc.weight'
    )


def test_mobilenet_takes_torchvisions_file(tmp_path):
    tensors = torchvision_tables.fabricate(torchvision_tables.TABLES['mobilenet_v2'])
    path = save(tmp_path / 'mobilenet_v2.pt', tensors)
    network = mff.Network(mff.Config('mobilenet_v2'))
    head = network.fusion[0].weight.clone()
    report = load_encoder_weights(encoder_of(network), path)
    assert holds(network.encoder, tensors)
    assert torch.equal(network.fusion[0].weight, head)
    left_out = ('features.17.', 'features.18.', 'classifier.')
    assert report.unused == tuple(sorted(key for key in tensors if key.startswith(left_out)))
    # features.17: 3 convolutions and 3 norms of 5; features.18: 1 and 1; the classifier: 2
    assert len(report.unused) == 18 + 6 + 2
    assert str(report).endswith(', and 18 more')


@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_wrapped_and_prefixed_files_fit(tmp_path, small, wrapper, prefix):
    tensors = state(small)
    content = {prefix + key: tensor for key, tensor in tensors.items()}
    content[f'{prefix}fc.weight'] = torch.rand(3)
    unused = ('fc.weight',)
    if wrapper:
        content = {wrapper: content, 'epoch': 90, 'optimizer': {'lr': 0.1}}
        unused = ('epoch', 'fc.weight', 'optimizer')
    report = load_encoder_weights(small, save(tmp_path / 'a.pth', content))
    assert holds(small, tensors)
    assert report.unused == unused
    assert len(report.loaded) == len(small.state_dict())


def test_prefix_is_part_of_the_name_unless_all_names_have_it(tmp_path, small):
    content = {**state(small), 'module.extra': torch.rand(1)}
    assert load_encoder_weights(small, save(tmp_path / 'a.pth', content)).unused == (
        'module.extra',
    )


def test_file_of_parameters_in_the_old_format_fits(tmp_path, small):
    """As torchvision's first files are: no zip archive, parameters, no batch counters."""
    tensors = {k: v for k, v in state(small).items() if not k.endswith('num_batches_tracked')}
    parameters = OrderedDict((key, nn.Parameter(tensor)) for key, tensor in tensors.items())
    path = tmp_path / 'a.pth'
    torch.save(parameters, path, _use_new_zipfile_serialization=False)
    counters = {k: v.clone() for k, v in small.state_dict().items() if k not in tensors}
    report = load_encoder_weights(small, path)
    assert holds(small, {**tensors, **counters})
    assert set(report.absent) == set(counters)
    assert len(report.loaded) + len(report.absent) == len(small.state_dict())
    assert str(report).endswith(f'; {len(counters)} batch counters are not in the file and stay')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_types_become_the_encoders(tmp_path, small, dtype):
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state(small).items()}
    parameter = next(small.parameters())
    load_encoder_weights(small, save(tmp_path / 'a.safetensors', tensors))
    assert holds(small, {k: v.to(small.state_dict()[k].dtype) for k, v in tensors.items()})
    assert next(small.parameters()) is parameter  # an optimiser that holds it still does
    assert parameter.dtype == torch.float32
    assert parameter.requires_grad


# --- what does not fit: nothing is loaded


def test_missing_tensors_are_named(tmp_path, small):
    content = state(small)
    for key in ('bn.weight', 'layer1.0.conv1.weight'):
        del content[key]
    path = save(tmp_path / 'a.pth', content)
    message = unchanged(small, path, r'does not fit this Sequential: layer1\.0\.conv1\.weight is ')
    assert 'missing; bn.weight is missing. Give the weights of the same encoder' in message


def test_tensors_of_another_shape_or_kind_are_named(tmp_path, small):
    content = state(small)
    content['bn.weight'] = torch.rand(5)
    content['bn.bias'] = torch.zeros(4, dtype=torch.int64)
    path = save(tmp_path / 'a.safetensors', content)
    message = unchanged(small, path, r'bn\.weight is \(5,\), expected \(4,\)')
    assert 'bn.bias is torch.int64, expected torch.float32' in message


def test_another_networks_file_names_8_tensors_and_counts_the_others(tmp_path):
    tensors = torchvision_tables.fabricate(torchvision_tables.TABLES['mobilenet_v2'])
    path = save(tmp_path / 'mobilenet_v2.pth', tensors)
    with torch.device('meta'):
        encoder = ResNet('resnet18')  # 20 convolutions, 20 norms of 5 tensors, one a counter
    with pytest.raises(ValueError, match=r'does not fit this ResNet: conv1\.weight is miss') as e:
        load_encoder_weights(encoder, path)
    assert str(e.value).count(' is missing') == 8
    assert '; and 92 more. Give' in str(e.value)


def test_a_shallower_encoder_lists_the_layers_it_has_no_use_for(tmp_path, small):
    content = state(nn.Sequential(OrderedDict(layer1=stage(2, 4, 2), bn=nn.BatchNorm2d(4))))
    report = load_encoder_weights(small, save(tmp_path / 'a.pth', content))
    assert {key.rpartition('.')[0] for key in report.unused} == {
        f'layer1.1.{part}' for part in ('conv1', 'bn1', 'conv2', 'bn2')
    }
    assert 'no use for layer1.1.bn1.bias, ' in str(report)


def test_values_that_are_not_finite_are_refused(tmp_path, small):
    content = state(small)
    content['bn.bias'][2] = float('nan')
    content['bn.weight'] = torch.full((4,), 1e300, dtype=torch.float64)  # too much for float32
    path = save(tmp_path / 'a.pth', content)
    unchanged(small, path, r'not finite: bn\.weight, bn\.bias\. Fetch')


@pytest.mark.parametrize('content', [{}, {'state_dict': {}}, [torch.rand(2)], {'epoch': 1}, 3])
def test_file_without_named_tensors_is_refused(tmp_path, small, content):
    path = save(tmp_path / 'a.pth', content)
    unchanged(small, path, 'holds no named tensors; give a state dict')


# --- what cannot be read


class Malicious:
    """Unpickle into a file that is written: what must not happen."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('legacy', [False, True])
def test_code_in_a_file_does_not_run(tmp_path, small, legacy):
    path, trace = tmp_path / 'a.pth', tmp_path / 'executed'
    content = {**state(small), 'fc.weight': Malicious(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    message = unchanged(small, path, r'refused, for it holds more than tensors \(.*mkdir\)')
    assert 'weights_only' not in message  # torch recommends to switch it off
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the file is what it is meant to be


def test_plain_pickle_does_not_run(tmp_path, small):
    path, trace = tmp_path / 'a.pt', tmp_path / 'executed'
    path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    unchanged(small, path, r'refused, .*mkdir')
    assert not trace.exists()


def test_whole_model_is_refused_with_what_to_do(tmp_path, small):
    path = tmp_path / 'a.pth'
    torch.save(small, path)
    unchanged(small, path, r'refused, .*Sequential\), .*save the state_dict\(\) alone')


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize('share', [0, 0.01, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path, small, suffix, share):
    path = save(tmp_path / f'a.{suffix}', state(small))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    unchanged(small, path, r'cannot be read as weights \(\w+\): damaged, .* fetch it again')


def test_truncated_file_of_the_old_format_is_refused(tmp_path, small):
    path = tmp_path / 'a.pth'
    torch.save(state(small), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        unchanged(small, path, 'cannot be read as weights|refused')


def test_page_saved_instead_of_the_file_is_refused(tmp_path, small):
    path = tmp_path / 'a.pth'
    path.write_text('<html>404</html>')
    unchanged(small, path, 'cannot be read as weights')


def test_missing_file_folder_and_other_suffix_are_named(tmp_path, small):
    unchanged(small, tmp_path / 'a.pth', 'cannot read: No such file or directory; give a local')
    (tmp_path / 'b.pth').mkdir()
    unchanged(small, tmp_path / 'b.pth', 'cannot read: Is a directory')
    unchanged(small, tmp_path / 'a.bin', r'give a file named \*\.safetensors, \*\.pth, \*\.pt')


# --- which networks have an encoder


def test_encoder_of_a_network():
    with torch.device('meta'):
        assert isinstance(encoder_of(mff.Network(mff.PRESETS['mff_resnet34'])), ResNet)
        assert isinstance(encoder_of(mff.Network(mff.Config())), MobileNetV2)
        without = lspkd.Network(lspkd.PRESETS['lspkd_s8'])
    with pytest.raises(ValueError, match=r"'lspkd' has no encoder .*leave encoder_weights out"):
        encoder_of(without)


@pytest.mark.parametrize('odd', [lambda t: t.to_sparse(), lambda t: t.to('meta')])
def test_tensors_without_plain_values_are_refused(tmp_path, odd):
    encoder = ResNet('resnet18')
    path = tmp_path / 'odd.pth'
    torch.save({name: odd(tensor) for name, tensor in encoder.state_dict().items()}, path)
    with pytest.raises(ValueError, match=r'odd\.pth: no plain tensors: .*conv1\.weight'):
        load_encoder_weights(encoder, path)
