# SPDX-License-Identifier: Apache-2.0
"""The model: vision-language backbone -> [LRN] embedding -> LSTM -> action chunk.

``config`` names every choice; ``backbone`` and ``kosmos2`` hold the vision-language model; ``prompt`` and
``lrn_sequence`` build what it reads; ``lstm_head`` turns [LRN] embeddings into chunks; ``history`` is the
streaming rule; ``vla`` joins them; ``loss`` trains them; ``weights`` reads and checks the file they are kept in.
"""
