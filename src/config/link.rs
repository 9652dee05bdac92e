//! An address with places to fill in: `ui.trace_link`.

use std::fmt;
use std::str::FromStr;

/// What may stand between `${` and `}`.
const PLACES: [&str; 3] = ["trace_id", "start_ms", "end_ms"];

/// The address of a trace in another tool; empty is "not set".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceLink(Option<String>);

impl TraceLink {
    /// The tool's name and the address of one trace; times in epoch ms. `None` when not set.
    pub(crate) fn fill(
        &self,
        trace_id: &str,
        start_ms: u64,
        end_ms: u64,
    ) -> Option<(String, String)> {
        let pattern = self.0.as_ref()?;
        let (start, end) = (start_ms.to_string(), end_ms.to_string());
        let mut address = pattern.clone();
        for (place, value) in PLACES.iter().zip([trace_id, &start, &end]) {
            address = address.replace(&format!("${{{place}}}"), value);
        }
        let name = match pattern.to_ascii_lowercase().contains("grafana") {
            true => "Grafana".to_owned(),
            false => host(pattern).unwrap_or_default().to_owned(),
        };
        Some((name, address))
    }
}

fn host(address: &str) -> Option<&str> {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then_some(host)
}

impl FromStr for TraceLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(TraceLink(None));
        }
        if host(text).is_none() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "{text:?} is not an address; write one such as \"https://grafana.example/explore?traceId=${{trace_id}}\""
            ));
        }
        let mut named = false;
        for part in text.split("${").skip(1) {
            match part.split_once('}') {
                Some((place, _)) if PLACES.contains(&place) => named |= place == PLACES[0],
                _ => {
                    let known = PLACES.map(|place| format!("${{{place}}}")).join(", ");
                    return Err(format!("{text:?}: what can be filled in is {known}"));
                }
            }
        }
        if !named {
            return Err(format!(
                "{text:?} does not say where the id goes: ${{trace_id}}"
            ));
        }
        Ok(TraceLink(Some(text.to_owned())))
    }
}

impl fmt::Display for TraceLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::TraceLink;

    #[test]
    fn only_web_addresses_with_known_places_are_links() {
        for bad in [
            "javascript:alert(${trace_id})",
            "//grafana.example/${trace_id}",
            "https:///${trace_id}",
            "https://a b/${trace_id}",
            "https://x.example/${trace}",
            "https://x.example/${trace_id",
            "https://x.example/",
        ] {
            assert!(bad.parse::<TraceLink>().is_err(), "{bad}");
        }
        let link: TraceLink = "https://x.example:3000/t/${trace_id}?from=${start_ms}&to=${end_ms}"
            .parse()
            .expect("a link");
        let (name, address) = link.fill("ab", 5, 9).expect("set");
        assert_eq!(name, "x.example:3000");
        assert_eq!(address, "https://x.example:3000/t/ab?from=5&to=9");
        assert_eq!(
            "".parse::<TraceLink>().expect("not set").fill("ab", 1, 2),
            None
        );
    }
}
