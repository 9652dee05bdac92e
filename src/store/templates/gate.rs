//! Which templates a head may bring into the catalogue. Asked only where a service is near its cap:
//! otherwise a record costs nothing.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::TemplateId;
use crate::store::catalogue::Catalogue;

/// The templates of one seal, against those that are known.
pub(in crate::store) struct Gate<'c> {
    catalogue: &'c Catalogue,
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// New templates let in, by the service that brings them.
    new: HashMap<Box<str>, HashSet<TemplateId>>,
    n_new: u32,
    /// Records kept plain.
    refused: u64,
}

impl<'c> Gate<'c> {
    pub(in crate::store) fn new(catalogue: &'c Catalogue) -> Gate<'c> {
        Gate {
            catalogue,
            inner: RefCell::default(),
        }
    }

    /// Whether a record of the service may be kept with this template.
    pub(in crate::store) fn allows(&self, service: &str, id: TemplateId) -> bool {
        let mut inner = self.inner.borrow_mut();
        let of_service = inner.new.get(service);
        if of_service.is_some_and(|new| new.contains(&id)) {
            return true;
        }
        let n_of_service = of_service.map_or(0, HashSet::len) as u32;
        let allowed = self
            .catalogue
            .has_room_for(service, id, n_of_service, inner.n_new);
        match allowed {
            Some(true) => true,
            Some(false) => {
                inner.refused += 1;
                false
            }
            None => {
                inner.n_new += 1;
                inner.new.entry(service.into()).or_default().insert(id);
                true
            }
        }
    }

    /// Records that were kept plain because there are too many templates.
    pub(in crate::store) fn refused(&self) -> u64 {
        self.inner.borrow().refused
    }
}
