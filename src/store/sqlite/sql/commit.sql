-- A commit that changes nothing: nobody uses this number. SQLite writes it all the same, and syncs the log.
pragma user_version = 0
