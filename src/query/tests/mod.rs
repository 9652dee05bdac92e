//! Queries over a whole store (heads and segments) against an evaluator written another way.

mod differential;
pub(super) mod fixture;
mod naive;
mod search;
