"""Cameras live: the wall, its WebSocket, and pictures for other programs."""
