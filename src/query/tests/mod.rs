//! Queries over a whole store (heads and segments) against an evaluator written another way.

mod differential;
mod fixture;
mod naive;
mod search;
