//! Relabelling: rules that rewrite, copy, hash, keep or drop labels, for targets before they are
//! scraped and for samples before they are kept. Semantics of Prometheus 3.5 (`model/relabel`).
//! Must never fail while it runs: everything that can be wrong is refused by [`Rule::check`].

use std::sync::LazyLock;

use md5::{Digest, Md5};
use regex::Regex;

use crate::model::metric::LabelsBuilder;
use crate::model::metric::re2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    const ALL: [(&'static str, Action); 11] = [
        ("replace", Action::Replace),
        ("keep", Action::Keep),
        ("drop", Action::Drop),
        ("keepequal", Action::KeepEqual),
        ("dropequal", Action::DropEqual),
        ("hashmod", Action::HashMod),
        ("labelmap", Action::LabelMap),
        ("labeldrop", Action::LabelDrop),
        ("labelkeep", Action::LabelKeep),
        ("lowercase", Action::Lowercase),
        ("uppercase", Action::Uppercase),
    ];

    /// The action of a word in any case.
    pub(crate) fn of(word: &str) -> Option<Action> {
        let word = word.to_lowercase();
        let found = Action::ALL.into_iter().find(|(name, _)| *name == word);
        found.map(|(_, action)| action)
    }

    pub(crate) fn name(self) -> &'static str {
        let found = Action::ALL.into_iter().find(|(_, action)| *action == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A regular expression with the text it was written as. It matches the whole value.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

/// Written the same, they match the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// # Errors
    /// The text is no regular expression.
    pub(crate) fn new(text: &str) -> Result<Pattern, String> {
        Ok(Pattern {
            text: text.to_owned(),
            regex: re2::whole(text)?,
        })
    }
}

/// What matches everything, in one group; compiled once.
static EVERYTHING: LazyLock<Pattern> =
    LazyLock::new(|| Pattern::new(DEFAULT_REGEX).expect("a valid expression"));

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

/// One rule of `relabel_configs` or `metric_relabel_configs`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) source: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Pattern,
    pub(crate) modulus: u64,
    pub(crate) target: String,
    pub(crate) replacement: String,
    pub(crate) action: Action,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            source: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: EVERYTHING.clone(),
            modulus: 0,
            target: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::Replace,
        }
    }
}

/// Which names are names: those of the data model before Prometheus 3, or any UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Names {
    #[default]
    Utf8,
    Legacy,
}

impl Names {
    pub(crate) fn is_label_name(self, name: &str) -> bool {
        match self {
            Names::Utf8 => !name.is_empty(),
            Names::Legacy => is_legacy_label_name(name),
        }
    }

    pub(crate) fn is_metric_name(self, name: &str) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b':';
        match self {
            Names::Utf8 => !name.is_empty(),
            Names::Legacy => {
                name.bytes().all(fits) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
            }
        }
    }
}

fn is_legacy_label_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(fits) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

impl Rule {
    /// # Errors
    /// Fields that do not go with the action, in Prometheus' words.
    pub(crate) fn check(&self, names: Names) -> Result<(), String> {
        use Action as A;
        let action = self.action.name();
        let no_target = || {
            format!(
                "{:?} is invalid 'target_label' for {action} action",
                self.target
            )
        };
        let plain = |names: Names| names.is_label_name(&self.target);
        if self.action == A::HashMod && self.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        let writes = !matches!(
            self.action,
            A::Keep | A::Drop | A::LabelMap | A::LabelDrop | A::LabelKeep
        );
        if writes && self.target.is_empty() {
            return Err(format!(
                "relabel configuration for {action} action requires 'target_label' value"
            ));
        }
        match self.action {
            A::Replace => {
                let has_variable = self.target.contains('$');
                let fits = match names {
                    _ if !has_variable => plain(names),
                    Names::Utf8 => true,
                    Names::Legacy => is_target_template(&self.target),
                };
                if !fits {
                    return Err(no_target());
                }
            }
            A::Lowercase | A::Uppercase | A::KeepEqual | A::DropEqual => {
                if !plain(names) {
                    return Err(no_target());
                }
                if self.replacement != DEFAULT_REPLACEMENT {
                    return Err(format!("'replacement' can not be set for {action} action"));
                }
            }
            A::HashMod if !plain(names) => return Err(no_target()),
            A::LabelMap if names == Names::Legacy && !is_target_template(&self.replacement) => {
                return Err(format!(
                    "{:?} is invalid 'replacement' for {action} action",
                    self.replacement
                ));
            }
            A::HashMod | A::LabelMap | A::Keep | A::Drop | A::LabelDrop | A::LabelKeep => {}
        }
        self.check_only_fields()
    }

    /// Actions that take some fields only.
    fn check_only_fields(&self) -> Result<(), String> {
        let action = self.action.name();
        let others = self.modulus != 0
            || self.separator != DEFAULT_SEPARATOR
            || self.replacement != DEFAULT_REPLACEMENT;
        match self.action {
            Action::KeepEqual | Action::DropEqual if others || self.regex.text != DEFAULT_REGEX => {
                Err(format!(
                    "{action} action requires only 'source_labels' and `target_label`, and no other fields"
                ))
            }
            Action::LabelDrop | Action::LabelKeep
                if others || !self.source.is_empty() || !self.target.is_empty() =>
            {
                Err(format!(
                    "{action} action requires only 'regex', and no other fields"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Changes the labels; false drops what they belong to.
    fn apply(&self, labels: &mut LabelsBuilder, names: Names) -> bool {
        let joined = self.joined(labels);
        let value = joined.as_str();
        let regex = &self.regex.regex;
        match self.action {
            Action::Keep => return regex.is_match(value),
            Action::Drop => return !regex.is_match(value),
            Action::KeepEqual => return labels.get(&self.target) == value,
            Action::DropEqual => return labels.get(&self.target) != value,
            Action::Replace => self.replace(value, labels, names),
            Action::Lowercase => _ = labels.set(&self.target, &value.to_lowercase()),
            Action::Uppercase => _ = labels.set(&self.target, &value.to_uppercase()),
            Action::HashMod => {
                let hash = Md5::digest(value.as_bytes());
                let last = hash[8..].try_into().expect("MD5 has 16 bytes");
                let modulo = u64::from_be_bytes(last) % self.modulus;
                labels.set(&self.target, &modulo.to_string());
            }
            Action::LabelMap => {
                let found: Vec<(String, String)> = labels
                    .iter()
                    .filter(|(name, value)| !value.is_empty() && regex.is_match(name))
                    .map(|(name, value)| {
                        let new = regex.replace_all(name, self.replacement.as_str());
                        (new.into_owned(), value.to_owned())
                    })
                    .collect();
                for (name, value) in found {
                    labels.set(&name, &value);
                }
            }
            Action::LabelDrop => labels.keep_names(|name| !regex.is_match(name)),
            Action::LabelKeep => labels.keep_names(|name| regex.is_match(name)),
        }
        true
    }

    fn replace(&self, value: &str, labels: &mut LabelsBuilder, names: Names) {
        let Some(found) = self.regex.regex.captures(value) else {
            return;
        };
        let mut target = String::new();
        found.expand(&self.target, &mut target);
        if !names.is_label_name(&target) {
            return;
        }
        let mut new = String::new();
        found.expand(&self.replacement, &mut new);
        labels.set(&target, &new);
    }

    fn joined(&self, labels: &LabelsBuilder) -> String {
        let mut all = String::new();
        for (i, name) in self.source.iter().enumerate() {
            if i > 0 {
                all.push_str(&self.separator);
            }
            all.push_str(labels.get(name));
        }
        all
    }
}

/// Applies the rules in order; false as soon as one drops what the labels belong to.
pub(crate) fn apply(rules: &[Rule], labels: &mut LabelsBuilder, names: Names) -> bool {
    rules.iter().all(|rule| rule.apply(labels, names))
}

/// `^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$`: a legacy label name with variables in it.
fn is_target_template(text: &str) -> bool {
    static TEMPLATE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"^(?:(?:[a-zA-Z_]|\$(?:\{[0-9A-Za-z_]+\}|[0-9A-Za-z_]+))+[0-9A-Za-z_]*)+$";
        Regex::new(pattern).expect("a valid expression")
    });
    TEMPLATE.is_match(text)
}

#[cfg(test)]
mod tests;
