//! A YAML document as a tree in which every node knows where it was written. Scalars keep their text:
//! what it means is decided by who asks for it, as Prometheus' reader does. Must never follow an
//! alias further than the limits below allow.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Nodes of one document, aliases expanded. A file of 1 MiB has fewer; an alias bomb has not.
const NODES_MAX: usize = 200_000;

/// Nesting of one document. Prometheus' deepest section has 8 levels.
const DEPTH_MAX: usize = 64;

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// `plain`: written without quotes, so that `true`, `12` and `~` are more than text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// Why a text is no YAML, or too much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) at: At,
    pub(crate) message: String,
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The text of a scalar that is not null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// As Go's reader names the type of a value in its errors.
    pub(crate) fn kind(&self) -> String {
        match &self.content {
            Content::Mapping(_) => "!!map".to_owned(),
            Content::Sequence(_) => "!!seq".to_owned(),
            Content::Scalar { .. } if self.is_null() => "!!null".to_owned(),
            Content::Scalar { text, plain } => {
                let tag = match text.as_str() {
                    _ if !plain => "!!str",
                    _ if as_flag(text).is_some() => "!!bool",
                    _ if text.parse::<i64>().is_ok() => "!!int",
                    _ if text.parse::<f64>().is_ok() => "!!float",
                    _ => "!!str",
                };
                // yaml.v2 shows ten bytes at most.
                let shown: String = text.chars().take(7).collect();
                let shown = if text.len() > 10 {
                    format!("{shown}...")
                } else {
                    text.clone()
                };
                format!("{tag} `{shown}`")
            }
        }
    }
}

/// The booleans of YAML 1.1, which Prometheus' files may use.
pub(crate) fn as_flag(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// The first document of a text; `None` when there is nothing in it.
///
/// # Errors
/// The text is no YAML, or breaks a limit.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, YamlError> {
    let mut build = Build {
        stack: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            at: At {
                line: error.marker().line(),
                column: error.marker().col() + 1,
            },
            message: error.info(),
        })?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        build.take(event, &span)?;
    }
    Ok(build.root)
}

/// A collection whose end has not come yet.
struct Open {
    at: At,
    anchor: usize,
    is_mapping: bool,
    items: Vec<Node>,
}

struct Build {
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Build {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), YamlError> {
        let at = At {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                let content = Content::Scalar { text, plain };
                self.add(Node { at, content }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, _) => self.open(at, anchor, false),
            Event::MappingStart(_, anchor, _) => self.open(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop().expect("ends come after starts");
                let content = if open.is_mapping {
                    Content::Mapping(merged(pairs(open.items)))
                } else {
                    Content::Sequence(open.items)
                };
                let at = open.at;
                self.add(Node { at, content }, open.anchor, 1)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    let message = "an alias stands inside of what it names".to_owned();
                    return Err(YamlError { at, message });
                };
                let (node, nodes) = (node.clone(), size(node));
                self.add(node, 0, nodes)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: At, anchor: usize, is_mapping: bool) -> Result<(), YamlError> {
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} deep");
            return Err(YamlError { at, message });
        }
        self.stack.push(Open {
            at,
            anchor,
            is_mapping,
            items: Vec::new(),
        });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} values, aliases counted as often as used");
            return Err(YamlError {
                at: node.at,
                message,
            });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar { .. } => 0,
        Content::Sequence(items) => items.iter().map(size).sum(),
        Content::Mapping(pairs) => pairs.iter().map(|(k, v)| size(k) + size(v)).sum(),
    }
}

fn pairs(items: Vec<Node>) -> Vec<(Node, Node)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// Puts what `<<` names into the mapping; keys written there win.
fn merged(pairs: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let is_merge =
        |key: &Node| matches!(&key.content, Content::Scalar { text, plain: true } if text == "<<");
    if !pairs.iter().any(|(key, _)| is_merge(key)) {
        return pairs;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| is_merge(key));
    for (_, value) in merges {
        let sources = match value.content {
            Content::Sequence(items) => items,
            Content::Mapping(_) | Content::Scalar { .. } => vec![value],
        };
        for source in sources {
            let Content::Mapping(inner) = source.content else {
                continue;
            };
            for (key, value) in inner {
                if !own.iter().any(|(known, _)| known.content == key.content) {
                    own.push((key, value));
                }
            }
        }
    }
    own
}
