"""Converted ViTs say what PyTorch says, or the file is refused."""

import argparse

import jax
import numpy as np
import pytest

import radio_ssl
from radio_ssl.convert import __main__ as program
from radio_ssl.convert import vit as names
from radio_ssl.convert import weights
from radio_ssl.models import base as models
from radio_ssl.models import vit

torch = pytest.importorskip('torch')
functional = torch.nn.functional

# Two blocks of 24 channels, in place of the twelve of 192.
DEPTH, WIDTH, HEADS = 2, 24, 3


@pytest.fixture
def small(monkeypatch):
  monkeypatch.setitem(vit._SIZES, 'tiny', (DEPTH, WIDTH, HEADS))


class _Scale(torch.nn.Module):
  """Names of timm's LayerScale."""

  def __init__(self, width):
    super().__init__()
    self.gamma = torch.nn.Parameter(torch.rand(width) + 0.5)

  def forward(self, x):
    return x * self.gamma


class _Attention(torch.nn.Module):
  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.qkv = torch.nn.Linear(width, 3 * width)
    self.proj = torch.nn.Linear(width, width)

  def forward(self, x):
    q, k, v = (
      part.unflatten(2, (self.heads, -1)).transpose(1, 2)
      for part in self.qkv(x).chunk(3, dim=2)
    )
    x = functional.scaled_dot_product_attention(q, k, v)
    return self.proj(x.transpose(1, 2).flatten(2))


class _Block(torch.nn.Module):
  def __init__(self, width, heads, scaled):
    super().__init__()
    self.norm1 = torch.nn.LayerNorm(width, eps=1e-6)
    self.attn = _Attention(width, heads)
    self.norm2 = torch.nn.LayerNorm(width, eps=1e-6)
    self.mlp = torch.nn.Module()
    self.mlp.fc1 = torch.nn.Linear(width, 4 * width)
    self.mlp.fc2 = torch.nn.Linear(4 * width, width)
    self.ls1 = _Scale(width) if scaled else torch.nn.Identity()
    self.ls2 = _Scale(width) if scaled else torch.nn.Identity()

  def forward(self, x):
    x = x + self.ls1(self.attn(self.norm1(x)))
    y = functional.gelu(self.mlp.fc1(self.norm2(x)))
    return x + self.ls2(self.mlp.fc2(y))


class _ViT(torch.nn.Module):
  """Names of timm's ViT, which is not installed here.

  Args:
    positions: rows of pos_embed before those of the patches.
  """

  def __init__(
    self,
    *,
    size=(DEPTH, WIDTH, HEADS),
    patch=8,
    side=4,
    channels=3,
    registers=0,
    positions=1,
    scaled=False,
    classes=0,
  ):
    super().__init__()
    depth, width, heads = size
    self.positions = positions
    self.patch_embed = torch.nn.Module()
    self.patch_embed.proj = torch.nn.Conv2d(channels, width, patch, patch)
    self.cls_token = torch.nn.Parameter(torch.randn(1, 1, width))
    if registers:
      self.reg_token = torch.nn.Parameter(torch.randn(1, registers, width))
    self.pos_embed = torch.nn.Parameter(
      torch.randn(1, positions + side * side, width)
    )
    self.blocks = torch.nn.Sequential(
      *(_Block(width, heads, scaled) for _ in range(depth))
    )
    self.norm = torch.nn.LayerNorm(width, eps=1e-6)
    if classes:
      self.head = torch.nn.Linear(width, classes)

  def forward(self, x):
    x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
    x = x + self.pos_embed[:, self.positions :]
    first = [self.cls_token]
    if hasattr(self, 'reg_token'):
      first.append(self.reg_token)
    first = torch.cat(first, dim=1)
    # The class token's position comes first, then those of the registers.
    rest = first.shape[1] - self.positions
    first = first + functional.pad(
      self.pos_embed[:, : self.positions], (0, 0, 0, rest)
    )
    x = torch.cat([first.expand(len(x), -1, -1), x], dim=1)
    return self.norm(self.blocks(x))[:, 0]


def _network(seed=0, **kwargs):
  """With biases and scales as if it had been trained."""
  torch.manual_seed(seed)
  network = _ViT(**kwargs)
  for name, parameter in network.named_parameters():
    if name.endswith('bias'):
      torch.nn.init.normal_(parameter, std=0.1)
    elif 'norm' in name:
      torch.nn.init.uniform_(parameter, 0.5, 1.5)
  return network.eval()


def _features(network, images):
  with torch.no_grad():
    return network(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()


def _images(side, channels=3):
  generator = np.random.default_rng(0)
  return generator.uniform(size=(2, side, side, channels)).astype(np.float32)


def _check_features(frozen, network, images, shown):
  wanted = _features(network, shown)
  np.testing.assert_allclose(frozen(images), wanted, rtol=1e-4, atol=1e-4)
  # Images and channels differ: there was something to agree on.
  assert wanted.std(axis=1).min() > 0.1
  assert np.abs(wanted[0] - wanted[1]).max() > 1e-2


def test_features_of_vit_tiny_are_pytorchs(tmp_path):
  network = _network(size=(12, 192, 3), classes=10)
  torch.save(network.state_dict(), tmp_path / 'a.pth')
  done = weights.write(
    tmp_path / 'a.pth', 'vit_tiny', tmp_path / 'out', norm='imagenet'
  )
  assert done.left_out == {'head': 2}
  frozen = radio_ssl.load_encoder(tmp_path / 'out')
  assert frozen.input.channels == 3
  mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
  images = _images(32)
  shown = ((images - mean) / std).astype(np.float32)
  _check_features(frozen, network, images, shown)


@pytest.mark.parametrize(
  ('shape', 'base_size_pix'),
  [
    ({'patch': 4, 'side': 3, 'channels': 1}, 12),
    # timm's DINOv2 with registers: positions of the patches alone.
    ({'registers': 4, 'positions': 0, 'scaled': True}, 32),
    # DINOv2's own: the class token has a position, registers have none.
    ({'registers': 4, 'positions': 1}, 32),
    ({'registers': 2, 'positions': 3, 'side': 5}, 40),
    ({'positions': 0}, 32),
  ],
)
def test_shapes_of_the_file_make_the_config(
  tmp_path, small, shape, base_size_pix
):
  network = _network(**shape)
  torch.save(network.state_dict(), tmp_path / 'a.pth')
  weights.write(
    tmp_path / 'a.pth', 'vit_tiny', tmp_path / 'out', size_pix=base_size_pix
  )
  frozen = radio_ssl.load_encoder(tmp_path / 'out')
  encoder = frozen.encoder
  assert encoder.patch_size == shape.get('patch', 8)
  assert encoder.base_size_pix == base_size_pix
  assert encoder.registers == shape.get('registers', 0)
  images = _images(base_size_pix, shape.get('channels', 3))
  _check_features(frozen, network, images, images)


def test_another_size_gives_features_near_those_of_its_own(tmp_path, small):
  torch.manual_seed(0)
  network = _network(side=8)
  # Smooth positions, as learnt ones are; random ones mean nothing in between.
  ramp = torch.linspace(0, 1, 8).repeat(8)[:, None]
  network.pos_embed.data[0, 1:] = ramp * torch.randn(WIDTH)
  torch.save(network.state_dict(), tmp_path / 'a.pth')
  found = weights.read(tmp_path / 'a.pth', 'vit_tiny')
  encoder = models.make_encoder(found.config)
  # Images of one colour are the same at every size.
  own, larger = (
    encoder.apply(
      found.variables, np.full((1, side, side, 3), 0.5, 'f4'), train=False
    ).pooled
    for side in (64, 96)
  )
  np.testing.assert_allclose(larger, own, atol=0.05)
  assert np.std(own) > 0.1


def _dino(path, student, teacher):
  """As main_dino.py of DINO lays its checkpoints out."""
  head = {'head.mlp.0.weight': torch.zeros(2, 2)}
  student = {f'backbone.{k}': v for k, v in student.state_dict().items()} | head
  teacher = {f'backbone.{k}': v for k, v in teacher.state_dict().items()} | head
  content = {
    'student': {f'module.{k}': v for k, v in student.items()},
    'teacher': teacher,
    'optimizer': {
      'state': {0: {'step': torch.tensor(3.0), 'exp_avg': torch.zeros(2)}},
      'param_groups': [{'lr': 1e-3, 'params': [0]}],
    },
    'epoch': 7,
    'args': argparse.Namespace(arch='vit_tiny', patch_size=8),
    'dino_loss': {'center': torch.zeros(1, 4)},
  }
  torch.save(content, path)


def test_student_and_teacher_of_dino_are_found(tmp_path, small, capsys):
  path, images = tmp_path / 'checkpoint.pth', _images(32)
  networks = {
    'student.module.backbone.': _network(seed=0),
    'teacher.backbone.': _network(seed=1),
  }
  _dino(path, *networks.values())
  arguments = ['torch', str(path), '--encoder', 'vit_tiny']
  assert program.main([*arguments, '--output', str(tmp_path / 'a')]) == 1
  told = capsys.readouterr().err
  assert all(prefix in told for prefix in ('choose by --prefix', *networks))
  for prefix, network in networks.items():
    output = str(tmp_path / prefix)
    given = [*arguments, '--prefix', prefix, '--output', output]
    assert program.main(given) == 0
    told = capsys.readouterr().out
    assert 'left out: 2 tensors of optimizer.state\n' in told
    assert 'left out: 1 tensors of dino_loss.center\n' in told
    assert 'left out: 1 tensors of teacher.head\n' in told
    _check_features(radio_ssl.load_encoder(output), network, images, images)


def test_heads_before_and_behind_the_prefix_are_counted(tmp_path, small):
  network = _network(classes=3)
  state = {f'backbone.{k}': v for k, v in network.state_dict().items()}
  state['classifier.weight'] = torch.zeros(2, 2)
  torch.save({'state_dict': state}, tmp_path / 'a.ckpt')
  found = weights.read(tmp_path / 'a.ckpt', 'vit_tiny')
  assert found.left_out == {
    'state_dict.classifier': 1,
    'state_dict.backbone.head': 2,
  }


def test_another_width_or_depth_is_refused_with_both(tmp_path):
  for size, told in (
    ((2, 192, 3), '2 blocks of width 192; vit_tiny has 12 of width 192'),
    ((12, 24, 3), '12 blocks of width 24; .* vit_small 12 of 384, vit_base 12'),
  ):
    torch.save(_network(size=size).state_dict(), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'a\.pth: {told}'):
      weights.read(tmp_path / 'a.pth', 'vit_tiny')


@pytest.mark.parametrize(
  ('gone', 'added', 'told'),
  [
    ('norm.weight', {}, 'Lacking: params/norm/scale. Unknown: none'),
    ('cls_token', {}, 'Lacking: params/class_token. Unknown: none'),
    ('blocks.1.attn.qkv.bias', {}, 'Lacking: params/block2/qkv/bias'),
    ('pos_embed', {}, 'no pos_embed; wanted a learnt'),
    ('', {'pos_embed': (1, 18, WIDTH)}, 'pos_embed has 18 rows; wanted'),
    ('', {'pos_embed': (17, WIDTH)}, r'pos_embed is \(17, 24\); wanted'),
    ('', {'fc_norm.bias': (WIDTH,)}, r'fc_norm\.bias .*, a ViT here its tok'),
    ('', {'blocks.0.attn.q_norm.weight': (8,)}, r'no ViT here has blocks\.0\.'),
    ('', {'blocks.0.norm1.gamma': (WIDTH,)}, r'no ViT here has blocks\.0\.n'),
    ('', {'norm.weight': (WIDTH, 1)}, r'no ViT here has norm\.weight \(24, 1'),
    ('', {'mask_token': (1, WIDTH)}, 'no ViT here has mask_token'),
    ('', {'patch_embed.proj.weight': (WIDTH, 3, 8, 4)}, r'of \[8, 4\] pixels'),
    ('', {'norm.weight': (WIDTH + 1,)}, 'params/norm/scale'),
  ],
)
def test_what_does_not_fit_is_named(tmp_path, small, gone, added, told):
  state = _network().state_dict()
  state.pop(gone, None)
  state |= {name: torch.zeros(shape) for name, shape in added.items()}
  torch.save(state, tmp_path / 'a.pth')
  with pytest.raises(ValueError, match=rf'a\.pth: .*{told}'):
    weights.read(tmp_path / 'a.pth', 'vit_tiny')


def test_a_size_that_patches_do_not_tile_is_refused(tmp_path, small):
  torch.save(_network().state_dict(), tmp_path / 'a.pth')
  with pytest.raises(ValueError, match=r'--size_pix is 100; .*, which is 8'):
    weights.write(
      tmp_path / 'a.pth', 'vit_tiny', tmp_path / 'out', size_pix=100
    )
  assert not (tmp_path / 'out').exists()


def test_half_precision_becomes_float32(small):
  state = {k: v.numpy() for k, v in _network(scaled=True).state_dict().items()}
  state = {k: v.astype(np.float16) for k, v in state.items()}
  variables = names.from_torch(state)
  assert {x.dtype.name for x in jax.tree.leaves(variables)} == {'float32'}
