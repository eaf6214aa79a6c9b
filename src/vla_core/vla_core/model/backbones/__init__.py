# SPDX-License-Identifier: Apache-2.0
"""Vision-language backbones through transformers, one per file."""
