"""Package metadata; every dependency has a lower and an upper bound."""

import pathlib

import setuptools

_ROOT = pathlib.Path(__file__).parent

setuptools.setup(
  name='radio_ssl',
  version='0.1.0',
  description='Self-supervised learning on radio-survey images, in JAX/Flax.',
  long_description=(_ROOT / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11,<3.14',
  packages=setuptools.find_packages(
    include=['radio_ssl', 'radio_ssl.*', 'tfds_builders', 'tfds_builders.*']
  ),
  package_data={
    'radio_ssl.benchmark.report': ['page.html'],
    'tfds_builders': [
      '*/README.md',
      '*/CITATIONS.bib',
      '*/TAGS.txt',
      '*/checksums.tsv',
    ],
  },
  install_requires=[
    'absl-py>=2.1,<3',
    'array_record>=0.7,<1',
    'astropy>=7.0,<9',
    'bokeh>=3.6,<4',
    'chex>=0.1.90,<0.2',
    'clu>=0.0.12,<0.1',
    'flax>=0.12,<0.14',
    'grain>=0.2.10,<0.3',
    'h5py>=3.11,<4',
    # tensorflow-datasets imports it without declaring it.
    'importlib_resources>=6.4,<8',
    'jax>=0.10,<0.13',
    'jinja2>=3.1,<4',
    'markupsafe>=2.1,<4',
    'matplotlib>=3.9,<4',
    'ml-collections>=1.0,<2',
    'numpy>=2.0,<3',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.11.30,<0.13',
    'pillow>=11,<14',
    'pyarrow>=18,<28',
    'safetensors>=0.5,<1',
    'scikit-learn>=1.5,<2',
    'scipy>=1.14,<2',
    'tensorflow-datasets>=4.9.9,<5',
  ],
  extras_require={
    'beam': ['apache-beam>=2.60,<3'],
    'bench': ['torch>=2.13,<3'],
    'rgz': ['astroquery>=0.4.8,<0.5'],
    'tensorboard': ['tensorboardX>=2.6,<3'],
    'test': [
      'apache-beam>=2.60,<3',
      'astroquery>=0.4.8,<0.5',
      'pytest>=8.3,<10',
      'pytest-timeout>=2.3,<3',
      'ruff>=0.9,<1',
      'tensorboardX>=2.6,<3',
    ],
    'tf': ['tensorflow>=2.18,<3'],
  },
)
