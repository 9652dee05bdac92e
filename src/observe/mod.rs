//! Own metrics (every one in one list) and the tracing setup.
