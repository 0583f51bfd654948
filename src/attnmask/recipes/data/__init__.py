"""Where the data of recipes comes from: packages, archives and files of the user, fetched when they are needed."""
