# SPDX-License-Identifier: Apache-2.0
from glob import glob

from setuptools import find_packages, setup

package_name = "vla_policy_node"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        (f"share/{package_name}/launch", glob("../../launch/*.launch.py")),
        (f"share/{package_name}/config", glob("../../config/*.yaml") + glob("../../config/*.xml")),
        (f"share/{package_name}/config/robots", glob("../../config/robots/*.[yu]*")),  # specs and URDFs
        (f"share/{package_name}/config/rviz", glob("../../config/rviz/*.rviz")),
        (f"share/{package_name}/config/foxglove", glob("../../config/foxglove/*.json")),
        (f"share/{package_name}/models/tabletop", glob("../../models/tabletop/*.*")),
        (f"share/{package_name}/models/tabletop/backbone", glob("../../models/tabletop/backbone/*.*")),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="VLA suite maintainers",
    maintainer_email="maintainers@vla-suite.dev",
    description="Lifecycle node that runs a vision-language-action policy behind a guard; episode recorder.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = vla_policy_node.policy_node:main",
            "episode_recorder = vla_policy_node.recording.episode_recorder:main",
            "trial_logbook = vla_policy_node.trial_logbook:main",
            "tcp_pose_publisher = vla_policy_node.tcp_pose_publisher:main",
            "record_keyboard = vla_policy_node.recording.record_keyboard:main",
            "doctor = vla_policy_node.doctor.command:main",
            "replay_bag = vla_policy_node.replay_bag:main",
            "policy_server = vla_core.remote.serve:main",
            "policy_keys = vla_core.remote.keys:main",
        ]
    },
)
