"""See the package."""

from tests.database.versions import main

main()
