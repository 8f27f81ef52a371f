"""What structures are called, their coded concepts and their colours: a table that ships with the node, and its reader."""
