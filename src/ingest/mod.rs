//! The one door: admission, redaction, queue, writer.
