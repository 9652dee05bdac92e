//! Reads TOML, environment and flags into each module's own `Config`.
