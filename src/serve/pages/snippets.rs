//! What to paste into each kind of sender, with our address and a token inside. A line that names
//! the token is left out where none is needed.

/// What the placeholders stand for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `https://watch.example`, no trailing slash.
    pub(crate) origin: String,
    /// `None` where senders need no token.
    pub(crate) token: Option<String>,
}

/// One tab.
#[derive(Debug)]
pub(crate) struct Snippet {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) lines: Vec<Line>,
    /// The same as one text, for the copy button.
    pub(crate) text: String,
}

/// A line in coloured pieces: class `k` (key), `s` (text), `c` (comment) or none.
pub(crate) type Line = Vec<(&'static str, String)>;

const TABS: [(&str, &str, &str); 18] = [
    (
        "env",
        "Any SDK",
        include_str!("../../../web/snippets/env.txt"),
    ),
    (
        "rust",
        "Rust",
        include_str!("../../../web/snippets/rust.txt"),
    ),
    (
        "node",
        "Node",
        include_str!("../../../web/snippets/node.txt"),
    ),
    (
        "python",
        "Python",
        include_str!("../../../web/snippets/python.txt"),
    ),
    ("go", "Go", include_str!("../../../web/snippets/go.txt")),
    (
        "java",
        "Java",
        include_str!("../../../web/snippets/java.txt"),
    ),
    (
        "dotnet",
        ".NET",
        include_str!("../../../web/snippets/dotnet.txt"),
    ),
    (
        "browser",
        "Browser",
        include_str!("../../../web/snippets/browser.txt"),
    ),
    (
        "android",
        "Android",
        include_str!("../../../web/snippets/android.txt"),
    ),
    ("ios", "iOS", include_str!("../../../web/snippets/ios.txt")),
    (
        "docker",
        "Docker logs",
        include_str!("../../../web/snippets/docker.txt"),
    ),
    (
        "collector",
        "Collector",
        include_str!("../../../web/snippets/collector.txt"),
    ),
    (
        "fluentbit",
        "Fluent Bit",
        include_str!("../../../web/snippets/fluentbit.txt"),
    ),
    (
        "vector",
        "Vector",
        include_str!("../../../web/snippets/vector.txt"),
    ),
    (
        "alloy",
        "Alloy",
        include_str!("../../../web/snippets/alloy.txt"),
    ),
    (
        "promtail",
        "Promtail",
        include_str!("../../../web/snippets/promtail.txt"),
    ),
    (
        "fly",
        "Fly.io",
        include_str!("../../../web/snippets/fly.txt"),
    ),
    (
        "kubernetes",
        "Kubernetes",
        include_str!("../../../web/snippets/kubernetes.txt"),
    ),
];

/// Every tab, filled in.
pub(crate) fn all(target: &Target) -> Vec<Snippet> {
    TABS.iter()
        .map(|(id, label, text)| fill(id, label, text, target))
        .collect()
}

/// One span and one log line by curl, through the same doors that SDKs use.
pub(crate) fn curl(target: &Target) -> Snippet {
    fill(
        "curl",
        "curl",
        include_str!("../../../web/snippets/curl.txt"),
        target,
    )
}

/// What Grafana can use of this version.
pub(crate) fn grafana(target: &Target) -> Snippet {
    fill(
        "grafana",
        "Grafana",
        include_str!("../../../web/snippets/grafana.txt"),
        target,
    )
}

fn fill(id: &'static str, label: &'static str, text: &str, target: &Target) -> Snippet {
    let (scheme, authority) = target
        .origin
        .split_once("://")
        .unwrap_or(("http", &target.origin));
    let tls = scheme == "https";
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of a bare IPv6 address are inside brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, if tls { "443" } else { "80" }),
    };
    let token = target.token.as_deref();
    let with_token = match token {
        Some(token) => format!("{scheme}://watchpost:{token}@{authority}"),
        None => target.origin.clone(),
    };
    let mut filled = String::with_capacity(text.len() + 256);
    for line in text
        .lines()
        .filter(|line| token.is_some() || !line.contains("{token}"))
    {
        let line = line
            .replace("{address_with_token}", &with_token)
            .replace("{address}", &target.origin)
            .replace("{token}", token.unwrap_or_default())
            .replace("{host}", host)
            .replace("{port}", port)
            .replace("{tls}", if tls { "On" } else { "Off" });
        filled.push_str(&line);
        filled.push('\n');
    }
    let lines = filled.lines().map(colour).collect();
    Snippet {
        id,
        label,
        lines,
        text: filled,
    }
}

/// Comments, quoted text and the name before `=`; enough to make a snippet quick to read.
fn colour(line: &str) -> Line {
    let trimmed = line.trim_start();
    if trimmed.starts_with("# ") || trimmed.starts_with("//") {
        return vec![("c", line.to_owned())];
    }
    let mut pieces = Line::new();
    let mut rest = line;
    if let Some((start, end)) = name_span(line) {
        pieces.push(("", line[..start].to_owned()));
        pieces.push(("k", line[start..end].to_owned()));
        rest = &line[end..];
    }
    while let Some(open) = rest.find('"') {
        let Some(close) = rest[open + 1..].find('"') else {
            break;
        };
        let end = open + close + 2;
        pieces.push(("", rest[..open].to_owned()));
        pieces.push(("s", rest[open..end].to_owned()));
        rest = &rest[end..];
    }
    pieces.push(("", rest.to_owned()));
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

/// Where the name of `NAME=value`, `export NAME=value` or `  name: value` is.
fn name_span(line: &str) -> Option<(usize, usize)> {
    let start = line.find("export ").map_or(0, |at| at + "export ".len());
    let indent = line[start..].len() - line[start..].trim_start().len() + start;
    let name = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
    let length = line[indent..].find(|c| !name(c))?;
    let end = indent + length;
    let after = &line[end..];
    let is_name = length > 0 && (after.starts_with('=') || after.starts_with(": ") || after == ":");
    is_name.then_some((indent, end))
}

#[cfg(test)]
mod tests {
    use super::{Target, all, colour, curl};

    fn target(token: Option<&str>) -> Target {
        Target {
            origin: "https://watch.example".to_owned(),
            token: token.map(str::to_owned),
        }
    }

    #[test]
    fn every_snippet_holds_the_address_and_the_token() {
        let target = target(Some("wp_in_abc"));
        for snippet in all(&target).iter().chain([&curl(&target)]) {
            assert!(snippet.text.contains("watch.example"), "{}", snippet.id);
            assert!(snippet.text.contains("wp_in_abc"), "{}", snippet.id);
            assert!(!snippet.text.contains("{address") && !snippet.text.contains("{token"));
            let shown: Vec<String> = snippet
                .lines
                .iter()
                .map(|l| l.iter().map(|(_, text)| text.as_str()).collect())
                .collect();
            assert_eq!(
                shown.join("\n") + "\n",
                snippet.text,
                "colours change no text"
            );
        }
    }

    #[test]
    fn where_no_token_is_needed_none_is_asked_for() {
        for snippet in all(&target(None)) {
            let lower = snippet.text.to_lowercase();
            assert!(
                !lower.contains("bearer") && !lower.contains('@')
                    || snippet.id == "node"
                    || snippet.id == "browser",
                "{lower}"
            );
        }
        assert!(
            curl(&target(None))
                .text
                .contains("application/json' \\\n  -d")
        );
    }

    #[test]
    fn names_texts_and_comments_are_told_apart() {
        assert_eq!(
            colour("export A_B=\"c d\" e"),
            [
                ("", "export ".to_owned()),
                ("k", "A_B".to_owned()),
                ("", "=".into()),
                ("s", "\"c d\"".into()),
                ("", " e".into())
            ]
        );
        assert_eq!(colour("  # note"), [("c", "  # note".to_owned())]);
        assert_eq!(
            colour("npm install \"x"),
            [("", "npm install \"x".to_owned())]
        );
    }
}
