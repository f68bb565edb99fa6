"""The quantizer of #1400 on the baseline: Hadamard rotation, int6 GPTQ on text of its own, pruning, LZMA.

Only the quantizer: #1400 also trains on the validation data before it quantizes, which is not repeated here.
"""

from harness.kit import Calibration, Override, QuantizeConfig, Submission


class HadamardGptq(Submission):
    """Trained as the baseline; what the weights become is the source's."""

    def quantize_config(self) -> QuantizeConfig:
        """Int6 for the blocks' matrices, int8 to nearest for the embedding, as in the source."""
        # The source draws 64 sequences of 2,048 tokens after its 600 s; the baseline's context is `self.length`.
        drawn = Calibration(
            source="self", inside_clock=False, sequences=16 if self.smoke else 64, length=self.length, batch=8
        )
        return QuantizeConfig(
            bits=6,
            clip="search",
            gptq=True,
            hadamard=512,
            calibration=drawn,
            compressor="lzma",
            keep_below=4096 if self.smoke else 65_536,
            min_range=0.0 if self.smoke else 1.0,
            # The source cuts 16.9 MB to 15.88 MB so. How far a smoke model can be cut depends on the data.
            prune_to=0 if self.smoke else 15_880_000,
            prune_values=2,
            overrides=(Override("embedding.weight", bits=8, clip="quantile", gptq=False, hadamard=0),),
        )
