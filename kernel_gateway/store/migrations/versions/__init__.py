"""One module a change of the tables, oldest first by ``down_revision``. A released one is never edited."""
