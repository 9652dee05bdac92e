//! Statements of a database as people read them: a line per clause, indented where they nest. Only
//! white space between tokens changes; quoted text and comments stay as they are.

/// Longer statements are shown as they came: nobody reads a page of SQL, and most are data.
const BYTES_MAX: usize = 8 * 1024;
/// Deeper nesting is not indented further.
const INDENTS_MAX: usize = 8;

/// Words that begin a line. The longest that fits is taken.
const CLAUSES: [&str; 34] = [
    "WITH",
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "WINDOW",
    "UNION ALL",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "INSERT INTO",
    "VALUES",
    "ON CONFLICT",
    "ON DUPLICATE KEY UPDATE",
    "RETURNING",
    "UPDATE",
    "SET",
    "DELETE FROM",
    "LEFT OUTER JOIN",
    "RIGHT OUTER JOIN",
    "FULL OUTER JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "INNER JOIN",
    "CROSS JOIN",
    "NATURAL JOIN",
    "JOIN",
    "FOR UPDATE",
];
/// Words that begin a line inside of a clause.
const CONNECTIVES: [&str; 2] = ["AND", "OR"];

/// Whether an attribute's value is a statement in SQL's family.
pub(crate) fn is_statement(key: &str, text: &str) -> bool {
    const FIRST: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    let first = text
        .trim_start()
        .split(|c: char| !c.is_ascii_alphabetic())
        .next();
    matches!(key, "db.statement" | "db.query.text")
        && first.is_some_and(|word| FIRST.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// The statement over several lines; `None` where it is too long, or does not close what it opens.
pub(crate) fn pretty(sql: &str) -> Option<String> {
    if sql.len() > BYTES_MAX {
        return None;
    }
    let tokens = tokens(sql)?;
    let mut page = Page::default();
    let mut at = 0;
    while at < tokens.len() {
        at += page.put(&tokens[at..]);
    }
    Some(page.out)
}

/// The text so far, and which open brackets hold a query of their own.
#[derive(Default)]
struct Page {
    out: String,
    queries: Vec<bool>,
    /// Until the AND of a BETWEEN.
    between: bool,
}

impl Page {
    /// Writes the first token, or the words of a clause; says how many it took.
    fn put(&mut self, rest: &[&str]) -> usize {
        let in_call = self.queries.last() == Some(&false);
        let clause = CLAUSES
            .iter()
            .filter_map(|words| matched(rest, words))
            .max();
        if let Some(taken) = clause.filter(|_| !in_call) {
            self.line(0);
            self.words(&rest[..taken]);
            return taken;
        }
        let word = rest[0];
        let connects = CONNECTIVES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word));
        if connects && !in_call && !self.between {
            self.line(1);
        }
        self.between = match word {
            _ if word.eq_ignore_ascii_case("BETWEEN") => true,
            _ => self.between && !connects,
        };
        match word {
            "(" => {
                let inner = rest.get(1).copied().unwrap_or_default();
                let query = ["SELECT", "WITH"]
                    .iter()
                    .any(|w| w.eq_ignore_ascii_case(inner));
                self.words(&rest[..1]);
                self.queries.push(query);
            }
            ")" => {
                if self.queries.pop() == Some(true) {
                    self.line(0);
                }
                self.words(&rest[..1]);
            }
            _ => self.words(&rest[..1]),
        }
        1
    }

    fn line(&mut self, further: usize) {
        if self.out.is_empty() {
            return;
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
        let depth = self.queries.iter().filter(|query| **query).count() + further;
        self.out.push_str(&"  ".repeat(depth.min(INDENTS_MAX)));
    }

    /// Tokens keep the space, or its absence, that they had; a run of it becomes one.
    fn words(&mut self, tokens: &[&str]) {
        for token in tokens {
            if *token == " " {
                if !self.out.is_empty() && !self.out.ends_with([' ', '\n']) {
                    self.out.push(' ');
                }
            } else {
                self.out.push_str(token);
                if token.starts_with("--") {
                    self.out.push('\n');
                }
            }
        }
    }
}

/// How many tokens the words of a clause take at the start, with the spaces between them.
fn matched(tokens: &[&str], words: &str) -> Option<usize> {
    let mut at = 0;
    for (n, word) in words.split(' ').enumerate() {
        if n > 0 {
            if tokens.get(at) != Some(&" ") {
                return None;
            }
            at += 1;
        }
        if !tokens.get(at)?.eq_ignore_ascii_case(word) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// Words, single marks, quoted text, comments, and " " for any white space; `None` where quoted
/// text or a comment has no end.
fn tokens(sql: &str) -> Option<Vec<&str>> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                tokens.push(" ");
                continue;
            }
            '\'' | '"' | '`' => quoted(rest, first)?,
            '-' if rest.starts_with("--") => {
                let end = rest.find('\n').unwrap_or(rest.len());
                tokens.push(rest[..end].trim_end());
                rest = rest[end..].strip_prefix('\n').unwrap_or_default();
                continue;
            }
            '/' if rest.starts_with("/*") => rest.find("*/")? + 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
    Some(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of quoted text: a doubled mark, or one after a backslash, does not end it.
fn quoted(text: &str, mark: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == mark && chars.next_if(|(_, next)| *next == mark).is_none() {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(sql: &str, expect: &str) {
        assert_eq!(pretty(sql).as_deref(), Some(expect));
    }

    #[test]
    fn clauses_stand_on_lines_and_queries_inside_are_indented() {
        check(
            "select a, count(*)  from t left join u on u.id = t.id where a = 'x and y' and b between 1 and 2 order by a limit 5",
            "select a, count(*)\nfrom t\nleft join u on u.id = t.id\nwhere a = 'x and y'\n  and b between 1 and 2\norder by a\nlimit 5",
        );
        check(
            "SELECT * FROM t WHERE id IN (SELECT id FROM u WHERE x OR y) AND z",
            "SELECT *\nFROM t\nWHERE id IN (\n  SELECT id\n  FROM u\n  WHERE x\n    OR y\n)\n  AND z",
        );
        check(
            "INSERT INTO t (a, b) VALUES ($1, ?) ON CONFLICT (a) DO NOTHING",
            "INSERT INTO t (a, b)\nVALUES ($1, ?)\nON CONFLICT (a) DO NOTHING",
        );
        check(
            "SELECT extract(year FROM at) FROM t",
            "SELECT extract(year FROM at)\nFROM t",
        );
        check("SELECT 1 -- from\nFROM t", "SELECT 1 -- from\n\nFROM t");
        assert_eq!(pretty("SELECT 'open"), None);
    }

    #[test]
    fn only_statements_are_taken_for_one() {
        assert!(is_statement("db.query.text", " select 1"));
        assert!(!is_statement("db.statement", "GET user:8"));
        assert!(!is_statement("name", "SELECT 1"));
    }

    /// Everything but white space outside of quotes and comments.
    fn kept(sql: &str) -> Vec<&str> {
        let all = tokens(sql).unwrap_or_default();
        all.into_iter().filter(|token| *token != " ").collect()
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_changes(sql in "(SELECT|from|where|and|between|left|join|\\(|\\)|[a-z]|'[^'\\\\]{0,3}'|--x\n|/\\*.\\*/|,|=|é| |\n|\t){0,40}") {
            if let Some(pretty) = pretty(&sql) {
                prop_assert_eq!(kept(&pretty), kept(&sql), "{}", pretty);
            }
        }

        #[test]
        fn any_text_is_taken(sql in any::<String>()) {
            let _ = pretty(&sql);
        }
    }
}
