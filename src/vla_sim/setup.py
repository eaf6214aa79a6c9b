# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "vla_sim"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"], f"{package_name}.scene": ["tabletop.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "scipy", "mujoco>=3.3", "rosbags", "Pillow", "tqdm"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="VLA suite maintainers",
    maintainer_email="maintainers@vla-suite.dev",
    description="A simulated tabletop manipulator that speaks only standard ROS messages.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "demonstration_bags = vla_sim.demonstration_bags:main",
            "sim_node = vla_sim.sim_node:main",
        ]
    },
)
