"""See the package."""

from tests.database.supabase_versions import main

main()
