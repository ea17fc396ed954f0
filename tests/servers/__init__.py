"""Real servers for tests, on loopback and free ports, each in a temporary folder of its own: PostgreSQL with PostgREST
behind a gateway as a Supabase project has it (`supabase`), and an S3 store (`weed`).

`python -m tests.servers` starts them all for trying the product by hand.
"""
