# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "vla_core"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "scipy", "PyYAML", "Pillow", "pyzmq", "msgpack"],
    extras_require={
        "test": ["pytest"],
        "model": ["torch", "transformers", "safetensors", "accelerate", "peft"],
        "kinematics": ["mink", "mujoco", "qpsolvers", "daqp"],
    },
    zip_safe=False,
    maintainer="VLA suite maintainers",
    maintainer_email="maintainers@vla-suite.dev",
    description="ROS-free core of the VLA suite.",
    license="Apache-2.0",
)
