//! Own log lines: text to stderr, so that stdout keeps its one `ready` line.

use tracing_subscriber::filter::{EnvFilter, ParseError};

/// Sends log lines to stderr. `directives` is the setting `log`: `info`, or per module as in
/// `info,watchpost::store=debug`. A second call in one process changes nothing.
///
/// # Errors
/// `directives` does not parse.
pub(crate) fn init(directives: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(directives)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .finish();
    // Tests in one process start several servers: the first one's choice stays.
    _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bad_directive_is_an_error() {
        assert!(super::init("watchpost=loud").is_err());
    }
}
