//! Pages for people: each file has a view struct, its template and the handlers that fill it.

pub(crate) mod axis;
pub(crate) mod colours;
pub(crate) mod deletes;
pub(crate) mod error;
pub(crate) mod explore;
mod figure;
pub(crate) mod listening;
pub(crate) mod logs;
pub(crate) mod overview;
pub(crate) mod querybar;
pub(crate) mod search;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod sidebar;
mod snippets;
pub(crate) mod start;
mod storage;
pub(crate) mod targets;
pub(crate) mod theme;
pub(crate) mod trace;
pub(crate) mod traces;

#[cfg(test)]
mod tests;
