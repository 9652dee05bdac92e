//! Disk, formats, WAL, catalogue, segments, retention; synchronous, no tokio, no HTTP, no JSON.
