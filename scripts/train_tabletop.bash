#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The policy in models/tabletop, from nothing: lessons, training, and rounds in which the policy acts and the expert
# says what it should have done (DAgger). Every command goes on where it was interrupted; run the script again.
#
#   scripts/train_tabletop.bash [ROUNDS]      # 2 by default, which ships; a further round goes on from the last one
set -euo pipefail
cd "$(dirname "$0")/.."
set +u; source scripts/env.bash; set -u

rounds=${1:-2}
data=datasets/tabletop
runs=runs/tabletop

# One thread per process, for arithmetic and for rendering (llvmpipe): threads that wait for each other while another
# process has their core cost more than they gain.
collect() { OMP_NUM_THREADS=1 LP_NUM_THREADS=1 python -m vla_training.collect_tabletop --processes "$(nproc)" "$@"; }
train() { # FOLDER ARGUMENTS...
    local out=$1
    shift
    if [ -f "$out/config.yaml" ]; then set -- --resume; fi
    python -m vla_training.train "$@" --out "$out"
}

# From the second round on lessons begin with what the first one left hard, and the run is longer for the longer data.
hard=(stack_red_on_blue stack_pink_on_red place_pink_in_drawer)
hard+=(push_red_block_left push_blue_block_left push_pink_block_left)

collect --out "$data/lessons" --lessons 800 --validation 24
sources="{path: $data/lessons}"
train "$runs/round0" config/train/tabletop.yaml --set "data.sources=[$sources]"

for ((round = 1; round <= rounds; round++)); do
    before=$runs/round$((round - 1))/checkpoints/last
    first_tasks=() steps=4000
    if ((round > 1)); then first_tasks=(--first-tasks "${hard[@]}") steps=5000; fi
    collect --out "$data/round$round" --lessons 320 --validation 0 --seed $((10000 * round)) --pupil "$before" \
        "${first_tasks[@]}"
    sources="$sources, {path: $data/round$round}"
    train "$runs/round$round" config/train/tabletop_round.yaml \
        --set "data.sources=[$sources]" "start.checkpoint=$before" "optimization.max_steps=$steps"
done
echo "models/tabletop is a copy of $runs/round$rounds/checkpoints/last"
