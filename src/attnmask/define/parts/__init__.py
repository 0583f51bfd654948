"""What the files of ``masks/`` share: positions on grids, edges of graphs, forests, rows of tables, lengths."""
