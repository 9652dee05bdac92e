//! The ingest token that `/start` puts into its snippets: one for each viewer, the same at every
//! look for a day, made on the first. The secret is only in memory; a token that nobody used and
//! nobody can see any more is revoked when the next one is made.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Access, AccessError, NewToken, Scopes, nanos};
use crate::model::Timestamp;
use crate::store::meta::{self, TokenRow};

/// How long the page shows the same token.
const SHOWN: Duration = Duration::from_secs(24 * 3600);

/// Viewers whose token is remembered; the one whose token is oldest makes room.
const VIEWERS_MAX: usize = 64;

/// Names of these tokens in the settings, before and after a sender came with one.
const UNUSED: &str = "start page - unused";
const USED: &str = "start page";

/// The tokens that the page shows.
#[derive(Default)]
pub(super) struct StartTokens(
    /// Guards the tokens by viewer; held for one look.
    Mutex<HashMap<String, NewToken>>,
);

impl Access {
    /// The token of a viewer, made if there is none that still holds.
    pub(crate) async fn start_token(
        &self,
        viewer: &str,
        now: Timestamp,
    ) -> Result<String, AccessError> {
        if let Some(secret) = self.shown_token(viewer, now) {
            return Ok(secret);
        }
        for row in self.tokens() {
            if row.name == UNUSED && !self.is_shown(&row.id, now) {
                self.revoke_token(&row.id).await?;
            }
        }
        let made = self.create_token(UNUSED, Scopes::INGEST, now).await?;
        let secret = made.secret.clone();
        let mut shown = self.start.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() >= VIEWERS_MAX && !shown.contains_key(viewer) {
            let oldest = shown.iter().min_by_key(|(_, token)| token.row.created_ns);
            let oldest = oldest.map(|(viewer, _)| viewer.clone());
            shown.remove(&oldest.expect("the map is full, not empty"));
        }
        shown.insert(viewer.to_owned(), made);
        Ok(secret)
    }

    fn shown_token(&self, viewer: &str, now: Timestamp) -> Option<String> {
        let shown = self.start.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = shown.get(viewer)?;
        let holds = is_fresh(&token.row, now) && self.tokens.load().contains_key(&token.row.id);
        holds.then(|| token.secret.clone())
    }

    fn is_shown(&self, id: &str, now: Timestamp) -> bool {
        let shown = self.start.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tokens = shown.values();
        tokens.any(|token| token.row.id == id && is_fresh(&token.row, now))
    }

    /// A sender came with this token: it is kept from now on.
    pub(super) fn keep_start_token(&self, row: &TokenRow) {
        if row.name != UNUSED {
            return;
        }
        // One short transaction, once in the life of a token.
        match meta::rename_token(&self.database, &row.id, USED) {
            Ok(_) => self.change_tokens(|tokens| {
                if let Some(token) = tokens.get_mut(&row.id) {
                    USED.clone_into(&mut token.name);
                }
            }),
            Err(error) => tracing::warn!(%error, "token of the start page not marked as used"),
        }
    }
}

fn is_fresh(row: &TokenRow, now: Timestamp) -> bool {
    now.0.saturating_sub(row.created_ns) <= nanos(SHOWN)
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;
    use crate::model::Timestamp;
    use crate::observe::Clock;
    use crate::serve::state::App;

    const HOUR_NS: u64 = 3_600_000_000_000;

    #[tokio::test]
    async fn used_tokens_stay_and_forgotten_ones_go() {
        let app = App::for_tests(Settings::default(), Clock::System);
        let access = &app.access;
        let at = |hour: u64| Timestamp(1_795_183_471_000_000_000 + hour * HOUR_NS);
        let names = || -> Vec<String> {
            let rows = access.tokens().into_iter();
            rows.map(|row| row.name).collect()
        };
        let first = access.start_token("a", at(0)).await.expect("made");
        assert_eq!(access.start_token("a", at(23)).await.expect("kept"), first);
        let other = access.start_token("b", at(1)).await.expect("made");
        assert_ne!(first, other, "one for each viewer");
        assert_eq!(names(), [super::UNUSED, super::UNUSED]);
        assert!(access.token_caller(&first).is_some());
        assert_eq!(names(), [super::USED, super::UNUSED]);
        let next = access.start_token("a", at(26)).await.expect("made");
        assert_ne!(next, first);
        assert_eq!(
            names(),
            [super::USED, super::UNUSED],
            "that of b was never used"
        );
        assert!(access.token_caller(&first).is_some() && access.token_caller(&other).is_none());
    }
}
