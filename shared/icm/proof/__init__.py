"""What proves that an archive is whole: leaves, Merkle trees, chained and signed heads. Bytes in, verdicts out."""
