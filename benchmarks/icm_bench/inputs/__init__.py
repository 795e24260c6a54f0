"""Files as people bring them, made at random: what is made of them, and what Pillow and ffmpeg show of them."""
