"""Pictures: grids, sheets and animations."""
