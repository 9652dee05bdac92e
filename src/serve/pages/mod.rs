//! Pages for people: each file has a view struct, its template and the handlers that fill it.

pub(crate) mod error;
pub(crate) mod listening;
pub(crate) mod overview;
pub(crate) mod settings;
mod snippets;
pub(crate) mod start;
pub(crate) mod theme;
