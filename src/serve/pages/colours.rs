//! The colour class of each service by name, as the catalogue assigned it on first sight.

use std::collections::HashMap;

use crate::serve::palette;

/// Services without an index yet have no stripe colour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Colours(HashMap<String, u32>);

impl Colours {
    pub(crate) fn new(services: &[(String, u32)]) -> Colours {
        Colours(services.iter().cloned().collect())
    }

    pub(crate) fn class(&self, service: &str) -> &'static str {
        self.0
            .get(service)
            .map_or("", |index| palette::service_class(*index))
    }
}
