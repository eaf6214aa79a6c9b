# The training image: PyTorch with CUDA and the two packages that need no ROS, from the same sources as the robot image.
# It converts, trains, evaluates, and serves a policy to a robot on another machine.
#
#   docker build -f docker/training.Dockerfile -t vla-training .
FROM python:3.12-slim-bookworm

# torch.compile needs a C compiler, the simulated arm of replay a GL library. Versions are Debian's.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
        g++ \
        libosmesa6 \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

WORKDIR /suite
# The packages first: they are large, and change less often than the suite.
COPY requirements requirements
# PyTorch's wheels from PyPI bring CUDA with them; the host needs only its driver.
RUN pip install -c requirements/ros-wheels-constraints.txt -r requirements/torch.txt \
    && pip install -c requirements/ros-wheels-constraints.txt -r requirements/python.txt

COPY config config
COPY src/vla_core src/vla_core
COPY src/vla_training src/vla_training
RUN pip install --no-deps ./src/vla_core ./src/vla_training

# What is written to mounted folders belongs to whoever runs the container: compose.yaml sets the user.
ENV HOME=/tmp
USER 1000:1000
CMD ["python", "-m", "vla_training.train", "--help"]
