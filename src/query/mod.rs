//! Log and trace search, correlation, budgets; never writes.
