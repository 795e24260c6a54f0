"""The record stream to the cloud."""
