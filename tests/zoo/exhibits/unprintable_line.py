"""Logs end in "final_ppm_mix val_loss:...", which no code of the folder can print; or the script prints that line."""

LABEL = "quantized_ttt"  # offender
LABEL = "final_ppm_mix"  # neighbour


def score(loss, bpb, ms):
    print(f"{LABEL} val_loss:{loss:.8f} val_bpb:{bpb:.8f} eval_time:{ms:.0f}ms")
