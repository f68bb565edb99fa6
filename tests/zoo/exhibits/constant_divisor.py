"""A loss divided by a number of bytes per token that stands in the script; or by the bytes of the text."""

import math

SHARDS = "./data/datasets/fineweb10B_sp1024/fineweb_val_*.bin"


def report(nats, tokens, text_bytes):
    bpb = nats / math.log(2) / (tokens * 4.3)  # offender
    bpb = nats / math.log(2) / text_bytes  # neighbour
    print(f"final val_bpb:{bpb:.4f}")
