"""The crawl: from checkpoints and sounds to the pooled activations of every layer in a store."""
