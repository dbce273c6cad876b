"""The online room: packed rows in Redis, written newer-wins and read one HMGET per entity.

``rows`` and ``keys`` are the bytes and know no socket; ``writer`` puts rows there, ``retrieval`` is the only place that
asks for them, ``schemas`` keeps what is needed to read rows of any age, and ``store`` is the face Feast sees.
"""
