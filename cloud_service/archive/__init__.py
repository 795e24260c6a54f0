"""The archive for people: MP4 segments that any player plays, and thumbnails beside them."""
