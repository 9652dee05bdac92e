//! PromQL as Prometheus 3.5 has it: text to tree, tree over a source of series to values.
//!
//! Pure: no clock; every evaluation is bounded in samples, series and time by its caller.

mod arithmetic;
pub(crate) mod ast;
mod check;
pub(crate) mod eval;
mod lex;
pub(crate) mod literal;
mod parse;
pub(crate) mod print;
#[cfg(test)]
pub(crate) mod promqltest;
mod selector;
pub(crate) mod source;
pub(crate) mod store_source;
#[cfg(test)]
mod tests;

pub(crate) use check::{return_type, signature_of};
pub(crate) use parse::{ParseError, parse, parse_selector};
