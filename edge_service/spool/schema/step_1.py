"""The tables. A spool from before there were steps has them, or the first three, and keeps what is in them.

A header holds for the records from its first sequence on, up to the next header's. A camera's detection is the newest
frame in which the cloud found something.
"""

STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS camera (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, next_sequence INTEGER NOT NULL,
        last_persisted INTEGER NOT NULL, bytes INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS header (
        camera INTEGER NOT NULL, first_sequence INTEGER NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (camera, first_sequence)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS record (
        camera INTEGER NOT NULL, sequence INTEGER NOT NULL, spooled_us INTEGER NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (camera, sequence)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS stand_in (
        camera INTEGER NOT NULL, sequence INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (camera, sequence)
    )
    """,
    "CREATE TABLE IF NOT EXISTS detection (camera INTEGER PRIMARY KEY, spooled_us INTEGER NOT NULL)",
)
