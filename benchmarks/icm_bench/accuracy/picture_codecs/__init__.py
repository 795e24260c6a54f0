"""Codecs of single pictures behind one protocol: ours and those it is compared with."""
