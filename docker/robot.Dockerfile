# The robot image: ROS 2 Jazzy from apt, the suite's Python packages in a virtual environment, and the built workspace
# in /suite.
#
#   docker build -f docker/robot.Dockerfile -t vla .
#   docker build -f docker/robot.Dockerfile -t vla --build-arg PIP_TORCH_ARGS= .     # PyTorch with CUDA
FROM ros:jazzy

# Versions are those of the base image's ROS and Ubuntu; pinning one of them here would break with the next sync.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
        g++ \
        libosmesa6 \
        make \
        python3-colcon-common-extensions \
        python3-dev \
        python3-venv \
        ros-jazzy-control-msgs \
        ros-jazzy-cv-bridge \
        ros-jazzy-tf2-ros-py \
        ros-jazzy-visualization-msgs \
    && rm -rf /var/lib/apt/lists/*

# Handed to pip for PyTorch; the default is the build without CUDA.
ARG PIP_TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
ENV PIP_NO_CACHE_DIR=1

WORKDIR /suite
COPY . .
RUN PIP_TORCH_ARGS="$PIP_TORCH_ARGS" scripts/setup.bash

ENTRYPOINT ["/suite/docker/entrypoint.sh"]
CMD ["ros2", "launch", "vla_policy_node", "robot.launch.py", "--show-args"]
