# SPDX-License-Identifier: Apache-2.0
"""The scene: ``tabletop.xml`` is the model, ``model`` loads it and names its addresses."""
