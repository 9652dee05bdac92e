//! The own JSON API (design.md section 2): only what no standard API offers. Handlers read their
//! parameters, ask the engine, and print; they decide nothing about the data.

pub(crate) mod deletes;
pub(crate) mod explore;
pub(crate) mod facets;
pub(crate) mod json;
pub(crate) mod logs;
pub(crate) mod loki;
pub(crate) mod openapi;
mod params;
pub(crate) mod patterns;
pub(crate) mod prometheus;
pub(crate) mod queries;
pub(crate) mod services;
pub(crate) mod suggest;
pub(crate) mod tail;
#[cfg(test)]
mod tests;
pub(crate) mod traces;
pub(crate) mod waterfall;

pub(crate) use params::{Params, read_time};
