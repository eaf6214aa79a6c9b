# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "vla_training"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "reports/*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        *("torch", "transformers", "peft", "lightning", "tensorboard"),
        *("rosbags", "mcap", "lz4", "zstandard", "av", "pyarrow"),
        *("matplotlib", "Jinja2", "Pillow", "tqdm"),
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="VLA suite maintainers",
    maintainer_email="maintainers@vla-suite.dev",
    description="Demonstrations to datasets to checkpoints, without ROS.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "ablate = vla_training.ablate:main",
            "ask = vla_training.ask:main",
            "bag_to_dataset = vla_training.bag_to_dataset:main",
            "collect_tabletop = vla_training.collect_tabletop:main",
            "evaluate = vla_training.evaluate:main",
            "import_checkpoint = vla_training.import_checkpoint:main",
            "init_checkpoint = vla_training.init_checkpoint:main",
            "inspect_dataset = vla_training.inspect_dataset:main",
            "pack_dataset = vla_training.pack_dataset:main",
            "replay = vla_training.replay:main",
            "sweep = vla_training.sweep:main",
            "train = vla_training.train:main",
        ]
    },
)
