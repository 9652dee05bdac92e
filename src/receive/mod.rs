//! Wire formats to batches: pure `decode`, thin handlers.
