//! Records, spans, resources, ids, time: plain values, no I/O.
