"""The past of cameras as people look at it: what is stored along time, and its pictures, sightings and boxes."""
