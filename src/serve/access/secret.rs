//! Making, checking and hashing random secrets.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What a token may do, as a set. Admin includes read; neither includes ingest, so that a token
/// which leaks from a dashboard cannot write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) const NONE: Scopes = Scopes(0);
    pub(crate) const INGEST: Scopes = Scopes(1);
    pub(crate) const READ: Scopes = Scopes(2);
    pub(crate) const ADMIN: Scopes = Scopes(4);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Bits this version does not know are dropped: they grant nothing.
    pub(crate) const fn from_bits(bits: u8) -> Scopes {
        Scopes(bits & 7)
    }

    pub(crate) const fn with(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    pub(crate) const fn ingest(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) const fn read(self) -> bool {
        self.0 & 6 != 0
    }

    pub(crate) const fn admin(self) -> bool {
        self.0 & 4 != 0
    }
}

/// A comma-separated list, as `--scope` and the API take it.
impl FromStr for Scopes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .try_fold(Scopes::NONE, |all, word| match word {
                "ingest" => Ok(all.with(Scopes::INGEST)),
                "read" => Ok(all.with(Scopes::READ)),
                "admin" => Ok(all.with(Scopes::ADMIN)),
                _ => Err(format!("{word:?} is not one of ingest, read, admin")),
            })
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [(1, "ingest"), (2, "read"), (4, "admin")];
        let set: Vec<&str> = words
            .iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&set.join(","))
    }
}

/// 256 random bits in 43 characters that need no escaping in URLs, headers and cookies.
pub(crate) fn random_text() -> String {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A random number, for ids that need not be secret.
pub(crate) fn random_number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Fills with random bytes from the operating system.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("a system without random numbers cannot run a server");
}

/// `wp_in_` (ingest), `wp_rd_` (read) or `wp_ad_` (admin), 256 random bits and a checksum: scanners
/// of leaked secrets can recognise it, and a mistyped one is told apart from a revoked one.
pub(crate) fn new_token(scopes: Scopes) -> String {
    let kind = match scopes {
        _ if scopes.admin() => "ad",
        _ if scopes.read() => "rd",
        _ => "in",
    };
    let body = format!("wp_{kind}_{}", random_text());
    let checksum = checksum(&body);
    body + &checksum
}

/// Whether a text has the shape of our tokens and its checksum fits.
pub(crate) fn is_token_shaped(text: &str) -> bool {
    let Some((body, sum)) = text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at))
    else {
        return false;
    };
    body.starts_with("wp_") && checksum(body) == sum
}

fn checksum(body: &str) -> String {
    URL_SAFE_NO_PAD.encode(crc32fast::hash(body.as_bytes()).to_be_bytes())
}

pub(crate) fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// The public id of a token: 48 bits of its hash.
pub(crate) fn token_id(hash: &[u8; 32]) -> String {
    hex(&hash[..6])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
