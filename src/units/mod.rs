//! Byte sizes and durations: parse and print.
