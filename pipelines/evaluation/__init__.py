"""How well a pipeline does: references against outputs, with intervals, tables and figures; knows files and arrays, nothing of a node."""
