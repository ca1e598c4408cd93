"""Converted weights say what PyTorch says, or the file is refused."""

import numpy as np
import pytest

import radio_ssl
from radio_ssl.convert import __main__ as program
from radio_ssl.convert import resnet, weights
from radio_ssl.models import base as models

torch = pytest.importorskip('torch')


class _Basic(torch.nn.Module):
  """Names and order of torchvision's BasicBlock."""

  def __init__(self, inputs, width, stride):
    super().__init__()
    conv = torch.nn.Conv2d
    self.conv1 = conv(inputs, width, 3, stride, 1, bias=False)
    self.bn1 = torch.nn.BatchNorm2d(width)
    self.conv2 = conv(width, width, 3, 1, 1, bias=False)
    self.bn2 = torch.nn.BatchNorm2d(width)
    self.downsample = _shortcut(inputs, width, stride)

  def forward(self, x):
    y = torch.relu(self.bn1(self.conv1(x)))
    return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class _Bottleneck(torch.nn.Module):
  """Names and order of torchvision's Bottleneck."""

  def __init__(self, inputs, width, stride):
    super().__init__()
    conv = torch.nn.Conv2d
    self.conv1 = conv(inputs, width, 1, bias=False)
    self.bn1 = torch.nn.BatchNorm2d(width)
    self.conv2 = conv(width, width, 3, stride, 1, bias=False)
    self.bn2 = torch.nn.BatchNorm2d(width)
    self.conv3 = conv(width, 4 * width, 1, bias=False)
    self.bn3 = torch.nn.BatchNorm2d(4 * width)
    self.downsample = _shortcut(inputs, 4 * width, stride)

  def forward(self, x):
    y = torch.relu(self.bn1(self.conv1(x)))
    y = torch.relu(self.bn2(self.conv2(y)))
    return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(inputs, outputs, stride):
  if inputs == outputs and stride == 1:
    return torch.nn.Identity()
  return torch.nn.Sequential(
    torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False),
    torch.nn.BatchNorm2d(outputs),
  )


class _ResNet(torch.nn.Module):
  """Names of torchvision's, which is not installed here."""

  def __init__(self, name='resnet18', channels=3, stem='imagenet'):
    super().__init__()
    block, counts, times = (_Basic, (2, 2, 2, 2), 1)
    if name == 'resnet50':
      block, counts, times = (_Bottleneck, (3, 4, 6, 3), 4)
    self.stem = stem
    size, stride = (7, 2) if stem == 'imagenet' else (3, 1)
    self.conv1 = torch.nn.Conv2d(
      channels, 64, size, stride, size // 2, bias=False
    )
    self.bn1 = torch.nn.BatchNorm2d(64)
    inputs = 64
    for i, count in enumerate(counts):
      blocks = []
      for j in range(count):
        stride = 2 if i > 0 and j == 0 else 1
        blocks.append(block(inputs, 64 * 2**i, stride))
        inputs = 64 * 2**i * times
      setattr(self, f'layer{i + 1}', torch.nn.Sequential(*blocks))
    self.fc = torch.nn.Linear(inputs, 10)

  def forward(self, x):
    x = torch.relu(self.bn1(self.conv1(x)))
    if self.stem == 'imagenet':
      x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
    return x.mean(dim=(2, 3))


def _network(seed=0, **kwargs):
  """With statistics as if it had been trained."""
  torch.manual_seed(seed)
  network = _ResNet(**kwargs)
  for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(module.weight, 0.5, 1.5)
      torch.nn.init.normal_(module.bias, std=0.1)
      torch.nn.init.normal_(module.running_mean, std=0.1)
      torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
  return network.eval()


def _features(network, images):
  with torch.no_grad():
    return network(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()


@pytest.mark.parametrize(
  ('name', 'channels', 'stem', 'norm'),
  [
    ('resnet18', 3, 'imagenet', 'imagenet'),
    ('resnet18', 1, 'small', 'none'),
    pytest.param('resnet50', 3, 'imagenet', 'none', marks=pytest.mark.slow),
  ],
)
def test_features_are_pytorchs(tmp_path, name, channels, stem, norm):
  network = _network(name=name, channels=channels, stem=stem)
  torch.save(network.state_dict(), tmp_path / 'a.pth')
  weights.write(tmp_path / 'a.pth', name, tmp_path / 'out', norm=norm)
  frozen = radio_ssl.load_encoder(tmp_path / 'out')
  assert frozen.input.channels == channels
  rng = np.random.default_rng(0)
  images = rng.uniform(size=(2, 64, 64, channels)).astype(np.float32)
  shown = images
  if norm == 'imagenet':
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    shown = ((images - mean) / std).astype(np.float32)
  wanted = _features(network, shown)
  np.testing.assert_allclose(
    frozen(images), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max()
  )
  assert wanted.std() > 0.01


def _solo_learn(path, online, average):
  """As solo-learn's checkpoints are laid out."""
  state = {
    **{f'backbone.{k}': v for k, v in online.state_dict().items()},
    **{f'momentum_backbone.{k}': v for k, v in average.state_dict().items()},
    'projector.0.weight': torch.zeros(4, 4),
  }
  torch.save({'state_dict': state, 'epoch': 3, 'loops': {}}, path)


def test_an_encoder_is_found_behind_its_prefix(tmp_path):
  online, average = _network(seed=0), _network(seed=1)
  _solo_learn(tmp_path / 'a.ckpt', online, average)
  images = np.random.default_rng(0).uniform(size=(2, 64, 64, 3)).astype('f4')
  for prefix, network in (
    ('state_dict.backbone.', online),
    ('state_dict.momentum_backbone.', average),
  ):
    found = weights.read(tmp_path / 'a.ckpt', 'resnet18', prefix=prefix)
    encoder = models.make_encoder(found.config)
    np.testing.assert_allclose(
      encoder.apply(found.variables, images, train=False).pooled,
      _features(network, images),
      atol=1e-3,
    )
    assert found.left_out['state_dict.projector'] == 1
  with pytest.raises(ValueError, match=r"more than one.*'state_dict\.backb"):
    weights.read(tmp_path / 'a.ckpt', 'resnet18')
  with pytest.raises(ValueError, match=r"no resnet18 behind 'x\.'; there"):
    weights.read(tmp_path / 'a.ckpt', 'resnet18', prefix='x.')


def test_another_network_is_refused_with_both_sides(tmp_path):
  path = tmp_path / 'a.pth'
  state = _network().state_dict()
  torch.save(state, path)
  with pytest.raises(ValueError, match=r'Lacking: .*stage1_block1_conv3'):
    weights.read(path, 'resnet50')
  with pytest.raises(ValueError, match='no efficientnet_lite0 in it; its'):
    weights.read(path, 'efficientnet_lite0')
  torch.save(state | {'layer9.0.attn.weight': torch.zeros(2)}, path)
  with pytest.raises(ValueError, match=r'no ResNet has layer9\.0\.attn'):
    weights.read(path, 'resnet18')
  del state['layer3.1.bn2.running_var']
  torch.save(state, path)
  with pytest.raises(ValueError, match=r'Lacking: .*stage3_block2_norm2/var'):
    weights.read(path, 'resnet18')
  torch.save({'w': torch.zeros(2)}, path)
  with pytest.raises(ValueError, match=r'no resnet18 in it; its tensors: w'):
    weights.read(path, 'resnet18')


def test_norm_of_other_channels_is_refused(tmp_path):
  torch.save(_network(channels=1).state_dict(), tmp_path / 'a.pth')
  with pytest.raises(ValueError, match='1 channels; --norm=imagenet is for 3'):
    weights.read(tmp_path / 'a.pth', 'resnet18', norm='imagenet')


def test_classifier_and_counters_are_no_part_of_the_encoder():
  state = {k: v.numpy() for k, v in _network().state_dict().items()}
  variables = resnet.from_torch(state)
  assert 'fc' not in variables['params']
  with pytest.raises(ValueError, match=r'no ResNet has conv1\.weight \(3,\)'):
    resnet.from_torch(state | {'conv1.weight': np.zeros(3)})


def test_program_converts_and_tells_what_it_left_out(tmp_path, capsys):
  _solo_learn(tmp_path / 'a.ckpt', _network(), _network(seed=1))
  arguments = ['torch', str(tmp_path / 'a.ckpt'), '--encoder', 'resnet18']
  output = ['--output', str(tmp_path / 'out')]
  assert program.main([*arguments, *output]) == 1
  assert 'choose by --prefix' in capsys.readouterr().err
  prefix = ['--prefix', 'state_dict.backbone.']
  assert program.main([*arguments, *output, *prefix]) == 0
  told = capsys.readouterr().out
  assert 'left out: 1 tensors of state_dict.projector' in told
  page = (tmp_path / 'out' / 'README.md').read_text()
  assert 'resnet18 with 11,176,512 parameters' in page
