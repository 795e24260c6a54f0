"""Clients of an edge's frame API and a cloud's archive, for programs of one thread and for asyncio."""
