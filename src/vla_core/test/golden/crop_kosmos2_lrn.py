# SPDX-License-Identifier: Apache-2.0
"""Crop the reference case ``d_post_lstm_hand`` to what fits in a repository: one tick, no action head.

Usage: python crop_kosmos2_lrn.py REFERENCE_FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

_EMBEDDING = "model.backbone.text_model.model.embed_tokens.weight"


def main(reference: Path) -> None:
    """Write ``kosmos2_lrn.npz`` and ``kosmos2_lrn/config.json`` beside this file."""
    here = Path(__file__).parent
    case = np.load(reference / "d_post_lstm_hand.npz")
    weights = load_file(reference / "d_post_lstm_hand.weights.safetensors")
    kept = {
        key: value for key, value in weights.items() if not key.startswith(("model.act_head.", "model.lm_head."))
    }
    del kept["model.backbone.text_model.lm_head.weight"]
    # Only the words of the two sentences stay; BOS 0, PAD 1 and EOS 2 keep their numbers.
    words = np.unique(np.concatenate([[0, 1, 2], case["text"].ravel()]))
    kept[_EMBEDDING] = kept[_EMBEDDING][words]
    np.savez_compressed(
        here / "kosmos2_lrn.npz",
        images=np.stack([case["hand_rgb"][:, :1], case["rgb"][:, :1]], axis=2),
        text=np.searchsorted(words, case["text"]),
        text_mask=case["text_mask"],
        embeds=case["embeds"][::4],
        attention_mask=case["attention_mask"][::4],
        lrn=case["head_in"][:, 0, 0],
        **{f"weights/{key}": value for key, value in kept.items()},
    )
    config = json.loads((reference / "tiny_kosmos2/config.json").read_text(encoding="utf-8"))
    config["text_config"]["vocab_size"] = len(words)
    folder = here / "kosmos2_lrn"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
