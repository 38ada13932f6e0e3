"""Trains the shared vocabulary on a sample of the mixture: train_bpe.py [OUT]"""

import collections
import sys

import bpe
import mixture

SIZE = 2560
SEED = 11


def main(out="/tmp/demo_models/bpe.json"):
    counts = collections.Counter()
    for text in mixture.sample_texts(60000, SEED):
        counts.update(bpe.pieces(text))
    counts = collections.Counter({p: int(c**0.75) for p, c in counts.items()})  # flattened: rare texts count too
    for word in [" code", " qa", " math", "Intent", "assistant", "user", "system"]:
        counts[bpe.pieces(word)[0]] += 10**9
    merges = bpe.train(counts, SIZE)
    bpe.Tokenizer(merges).save(out)
    print(len(counts), "pieces,", len(merges), "merges")


if __name__ == "__main__":
    main(*sys.argv[1:])
