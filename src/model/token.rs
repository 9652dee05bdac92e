//! What a word of a text is: the same for queries, for the head and for the index over templates.

/// Whether a character belongs to a token.
pub(crate) fn is_token_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Lower case of one character that is neither longer nor moves between ASCII and the rest.
pub(crate) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => c,
    }
}

/// The tokens of a text as they are written, in order.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_token_char(c))
        .filter(|token| !token.is_empty())
}
