//! Grouping keys out of paths: `job/NAME/LABEL/VALUE...`, with `@base64` behind a label's name where
//! its value could not stand in a path.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::metric::{Labels, LabelsBuilder};

/// Labels of a grouping key; a path of 8 KiB could name thousands.
const LABELS_MAX: usize = 32;

/// The key of what stands behind `/metrics/`, still percent-encoded.
///
/// # Errors
/// What is wrong, for the sender.
pub(crate) fn group(path: &str) -> Result<Labels, String> {
    let parts: Vec<String> = path
        .split('/')
        .map(percent_decoded)
        .collect::<Result<_, _>>()?;
    let (pairs, []) = parts.as_chunks::<2>() else {
        return Err(format!("odd number of components in label string {path:?}"));
    };
    if pairs.len() > LABELS_MAX {
        return Err(format!("a group has more than {LABELS_MAX} labels"));
    }
    let mut labels = LabelsBuilder::default();
    for (at, [name, value]) in pairs.iter().enumerate() {
        let (name, value) = match name.strip_suffix("@base64") {
            None => (name.as_str(), value.clone()),
            Some(name) => (name, from_base64(name, value)?),
        };
        if at == 0 && name != "job" {
            return Err("a path begins with job and its name".to_owned());
        }
        if at == 0 && value.is_empty() {
            return Err("job name is required".to_owned());
        }
        if !is_label(name) || (at > 0 && name == "job") {
            return Err(format!("improper label name {name:?}"));
        }
        labels.set(name, &value);
    }
    Ok(labels.build())
}

fn is_label(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    starts && name.bytes().all(fits) && !name.starts_with("__")
}

/// The URL-safe alphabet, padded or not; a lone `=` is the empty value.
fn from_base64(name: &str, value: &str) -> Result<String, String> {
    let wrong = || format!("invalid base64 encoding for label {name}={value:?}");
    let bytes = URL_SAFE_NO_PAD
        .decode(value.trim_end_matches('='))
        .map_err(|_| wrong())?;
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn percent_decoded(part: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |c: Option<u8>| c.and_then(|c| (c as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(format!("invalid escape in {part:?}"));
        };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| format!("{part:?} is not UTF-8"))
}
