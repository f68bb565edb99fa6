"""The audit's nonce: what every choice of an audit follows from, and no box ever sees.

It is drawn from the operating system's generator after the artifact is sealed, so that nothing in a submission can
depend on it. Document order, probed positions, replaced tokens, draws of the null stream, and the projections that
fingerprint rows each come from a stream of random numbers of their own: what a submission can see of one of them (the
order of the documents that it is played, say) tells nothing of another.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import numpy as np

#: Bits of a drawn nonce: too many to try, and few enough for a JSON number and a signed 64-bit integer.
BITS = 62


@dataclass(frozen=True)
class Secret:
    """One audit's nonce.

    Attributes:
        audit_seed: the nonce; 0 <= audit_seed < 2**63.
        seed: the training seed of the run, so that the seeds of one command do not share their choices.
        chosen: somebody named it (`--audit-seed`, a replay); False where it was drawn.
    """

    audit_seed: int
    seed: int
    chosen: bool = True

    @classmethod
    def drawn(cls, seed: int) -> Secret:
        """A new one."""
        return cls(secrets.randbits(BITS), seed, chosen=False)

    def number(self, purpose: str) -> int:
        """A number for one purpose, below 2**63: the seed of whatever is drawn for it."""
        digest = hashlib.sha256(f"{self.audit_seed}/{self.seed}/{purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose, that tell nothing of those for another."""
        return np.random.default_rng(self.number(purpose))
