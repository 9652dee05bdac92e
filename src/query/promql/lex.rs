//! PromQL text to tokens, with the rules and error texts of Prometheus' own lexer: what a word means
//! depends on the brackets around it. It never fails: an error is the last token.

use super::ast::{Aggregation, BinaryOp};

/// What a token is; its text is beside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    End,
    /// The text is no PromQL from here on; why.
    Bad(String),
    Identifier,
    /// With a colon in it.
    MetricIdentifier,
    String,
    Number,
    Duration,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Assign,
    MatchRegex,
    MatchNotRegex,
    At,
    Op(BinaryOp),
    Aggregate(Aggregation),
    Word(Word),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Offset,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Start,
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    /// Byte where it starts.
    pub(super) at: usize,
    pub(super) text: &'t str,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// As errors name it: `identifier "foo"`, `<op:+>`, `end of input`.
    pub(super) fn describe(&self) -> String {
        let text = self.text;
        match &self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Bad(why) => why.clone(),
            Kind::Identifier => format!("identifier {}", super::print::quote(text)),
            Kind::MetricIdentifier => {
                format!("metric identifier {}", super::print::quote(text))
            }
            Kind::String => format!("string {}", short(text)),
            Kind::Number => format!("number {}", short(text)),
            Kind::Duration => format!("duration {}", short(text)),
            Kind::MatchRegex | Kind::MatchNotRegex | Kind::At | Kind::Op(_) => {
                format!("<op:{text}>")
            }
            Kind::Aggregate(_) => format!("<aggr:{text}>"),
            Kind::Word(Word::Start | Word::End) => short(text),
            Kind::Word(_) => format!("<{text}>"),
            _ => super::print::quote(text),
        }
    }
}

/// Quoted, cut after ten characters.
fn short(text: &str) -> String {
    let cut: String = text.chars().take(10).collect();
    match text.len() > 10 {
        true => format!("{}...", super::print::quote(&cut)),
        false => super::print::quote(text),
    }
}

/// All tokens, comments and space left out; the last is [`Kind::End`] or [`Kind::Bad`].
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        text,
        at: 0,
        start: 0,
        parens: 0,
        in_brace: false,
        in_bracket: false,
        before_duration: false,
        seen_duration: false,
        seen_colon: false,
    };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next();
        let done = matches!(token.kind, Kind::End | Kind::Bad(_));
        tokens.push(token);
        if done {
            return tokens;
        }
    }
}

/// The word, in any case, as operator, aggregation, keyword or number.
pub(super) fn keyword(word: &str) -> Option<Kind> {
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => Kind::Op(BinaryOp::And),
        "or" => Kind::Op(BinaryOp::Or),
        "unless" => Kind::Op(BinaryOp::Unless),
        "atan2" => Kind::Op(BinaryOp::Atan2),
        "offset" => Kind::Word(Word::Offset),
        "by" => Kind::Word(Word::By),
        "without" => Kind::Word(Word::Without),
        "on" => Kind::Word(Word::On),
        "ignoring" => Kind::Word(Word::Ignoring),
        "group_left" => Kind::Word(Word::GroupLeft),
        "group_right" => Kind::Word(Word::GroupRight),
        "bool" => Kind::Word(Word::Bool),
        "start" => Kind::Word(Word::Start),
        "end" => Kind::Word(Word::End),
        "inf" | "nan" => Kind::Number,
        other => Kind::Aggregate(*Aggregation::ALL.iter().find(|op| op.name() == other)?),
    })
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Where the current token starts.
    start: usize,
    parens: usize,
    in_brace: bool,
    in_bracket: bool,
    /// In a bracket, no number seen yet.
    before_duration: bool,
    /// A duration was seen in some bracket.
    seen_duration: bool,
    seen_colon: bool,
}

impl<'t> Lexer<'t> {
    fn next(&mut self) -> Token<'t> {
        self.skip();
        self.start = self.at;
        let kind = if self.in_brace {
            self.inside_braces()
        } else if self.before_duration {
            self.inside_bracket()
        } else {
            self.statement()
        };
        let kind = kind.unwrap_or_else(Kind::Bad);
        Token {
            kind,
            at: self.start,
            text: &self.text[self.start..self.at],
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let fits = self.peek().is_some_and(wanted);
        if fits {
            self.take();
        }
        fits
    }

    fn accept_all(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }

    /// Space and comments; no comment starts right after an opening bracket.
    fn skip(&mut self) {
        loop {
            self.accept_all(is_space);
            if self.before_duration || self.peek() != Some('#') {
                return;
            }
            self.accept_all(|c| !matches!(c, '\n' | '\r'));
        }
    }

    fn statement(&mut self) -> Result<Kind, String> {
        let Some(c) = self.take() else {
            return match () {
                () if self.parens != 0 => Err("unclosed left parenthesis".to_owned()),
                () if self.in_bracket => Err("unclosed left bracket".to_owned()),
                () => Ok(Kind::End),
            };
        };
        let next = self.peek();
        match c {
            ',' => Ok(Kind::Comma),
            '*' | '/' | '%' | '+' | '-' | '^' => Ok(Kind::Op(arithmetic(c))),
            '=' if self.accept(|c| c == '=') => Ok(Kind::Op(BinaryOp::Equal)),
            '=' if next == Some('~') => {
                Err(format!("unexpected character after '=': {}", quoted('~')))
            }
            '=' => Ok(Kind::Assign),
            '!' if self.accept(|c| c == '=') => Ok(Kind::Op(BinaryOp::NotEqual)),
            '!' => Err(format!("unexpected character after '!': {}", quoted(next))),
            '<' if self.accept(|c| c == '=') => Ok(Kind::Op(BinaryOp::LessOrEqual)),
            '<' => Ok(Kind::Op(BinaryOp::Less)),
            '>' if self.accept(|c| c == '=') => Ok(Kind::Op(BinaryOp::GreaterOrEqual)),
            '>' => Ok(Kind::Op(BinaryOp::Greater)),
            '.' if next.is_some_and(|c| c.is_ascii_digit()) => self.number_or_duration(c),
            '0'..='9' => self.number_or_duration(c),
            '"' | '\'' | '`' => self.string(c),
            ':' if self.in_bracket => self.colon(),
            c if is_alpha(c) && self.in_bracket => self.word_in_bracket(c),
            c if is_alpha(c) || c == ':' => Ok(self.word()),
            '(' | ')' => self.parenthesis(c),
            '{' => {
                self.in_brace = true;
                Ok(Kind::LeftBrace)
            }
            '[' if self.in_bracket => Err(format!("unexpected left bracket {}", quoted(c))),
            '[' => {
                (self.in_bracket, self.before_duration, self.seen_colon) = (true, true, false);
                Ok(Kind::LeftBracket)
            }
            ']' => self.right_bracket(),
            '@' => Ok(Kind::At),
            _ => Err(format!("unexpected character: {}", quoted(c))),
        }
    }

    /// From `[` to the first number.
    fn inside_bracket(&mut self) -> Result<Kind, String> {
        let Some(c) = self.take() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        match c {
            ']' => self.right_bracket(),
            ':' if !self.seen_duration => {
                self.after("unexpected colon before duration in duration expression".to_owned())
            }
            ':' if self.seen_colon => {
                self.after("unexpected repeated colon in duration expression".to_owned())
            }
            ':' => self.colon(),
            '(' | ')' => self.parenthesis(c),
            '*' | '/' | '%' | '+' | '-' | '^' => Ok(Kind::Op(arithmetic(c))),
            ',' => Ok(Kind::Comma),
            's' | 'S' if self.is_step() => {
                self.before_duration = false;
                self.seen_duration = true;
                Ok(Kind::Identifier)
            }
            '0'..='9' | '.' if c != '.' || self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.before_duration = false;
                self.seen_duration = true;
                self.number_or_duration(c)
            }
            _ => Err(format!(
                "unexpected character in duration expression: {}",
                quoted(c)
            )),
        }
    }

    fn inside_braces(&mut self) -> Result<Kind, String> {
        let Some(c) = self.take() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            c if is_alpha(c) => {
                self.accept_all(is_alphanumeric);
                Ok(Kind::Identifier)
            }
            ',' => Ok(Kind::Comma),
            '"' | '\'' | '`' => self.string(c),
            '=' if self.accept(|c| c == '~') => Ok(Kind::MatchRegex),
            '=' => Ok(Kind::Assign),
            '!' if self.accept(|c| c == '~') => Ok(Kind::MatchNotRegex),
            '!' if self.accept(|c| c == '=') => Ok(Kind::Op(BinaryOp::NotEqual)),
            '!' => Err(format!(
                "unexpected character after '!' inside braces: {}",
                quoted(self.peek())
            )),
            '{' => Err(format!("unexpected left brace {}", quoted(c))),
            '}' => {
                self.in_brace = false;
                Ok(Kind::RightBrace)
            }
            _ => Err(format!("unexpected character inside braces: {}", quoted(c))),
        }
    }

    fn colon(&mut self) -> Result<Kind, String> {
        if self.seen_colon {
            return Err(format!("unexpected colon {}", quoted(':')));
        }
        self.seen_colon = true;
        Ok(Kind::Colon)
    }

    /// An error of a token that has been read: Prometheus points behind it.
    fn after(&mut self, why: String) -> Result<Kind, String> {
        self.start = self.at;
        Err(why)
    }

    fn parenthesis(&mut self, c: char) -> Result<Kind, String> {
        if c == '(' {
            self.parens += 1;
            return Ok(Kind::LeftParen);
        }
        let Some(parens) = self.parens.checked_sub(1) else {
            return self.after(format!("unexpected right parenthesis {}", quoted(c)));
        };
        self.parens = parens;
        Ok(Kind::RightParen)
    }

    fn right_bracket(&mut self) -> Result<Kind, String> {
        if !self.in_bracket {
            return Err(format!("unexpected right bracket {}", quoted(']')));
        }
        (self.in_bracket, self.before_duration, self.seen_colon) = (false, false, false);
        Ok(Kind::RightBracket)
    }

    fn word(&mut self) -> Kind {
        self.accept_all(|c| is_alphanumeric(c) || c == ':');
        let word = &self.text[self.start..self.at];
        match keyword(word) {
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    /// After a number in a bracket only `step` is a word.
    fn word_in_bracket(&mut self, c: char) -> Result<Kind, String> {
        if matches!(c, 's' | 'S') && self.is_step() {
            return Ok(Kind::Identifier);
        }
        self.at = self.start + c.len_utf8();
        if self.seen_colon {
            return Err(format!("unexpected colon {}", quoted(c)));
        }
        let (got, wanted) = (quoted(c), quoted(':'));
        Err(format!("unexpected character: {got}, expected {wanted}"))
    }

    /// Whether the word that has begun is `step`; takes it.
    fn is_step(&mut self) -> bool {
        self.accept_all(is_alpha);
        self.text[self.start..self.at].eq_ignore_ascii_case("step")
    }

    /// The quote has been taken. A string ends on its line; a raw one goes on to its quote.
    fn string(&mut self, quote: char) -> Result<Kind, String> {
        loop {
            match self.take() {
                Some(c) if c == quote => return Ok(Kind::String),
                Some('\\') if quote != '`' => self.escape(quote)?,
                Some('\n') if quote != '`' => return Err("unterminated quoted string".to_owned()),
                Some('\u{fffd}') => return Err("invalid UTF-8 rune".to_owned()),
                None if quote == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some(_) => {}
            }
        }
    }

    /// What follows a backslash: Go's escapes.
    fn escape(&mut self, quote: char) -> Result<(), String> {
        let ended = || "escape sequence not terminated".to_owned();
        let c = self.take().ok_or_else(ended)?;
        let (digits, base, most) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.at -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => return Err(format!("unknown escape sequence U+{:04X} '{c}'", c as u32)),
        };
        let mut value = 0u32;
        for _ in 0..digits {
            let c = self.take().ok_or_else(ended)?;
            let digit = c.to_digit(base).ok_or_else(|| {
                let code = c as u32;
                format!("illegal character U+{code:04X} '{c}' in escape sequence")
            })?;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        match value > most || (0xd800..0xe000).contains(&value) {
            true => Err("escape sequence is an invalid Unicode code point".to_owned()),
            false => Ok(()),
        }
    }

    fn number_or_duration(&mut self, first: char) -> Result<Kind, String> {
        self.at -= first.len_utf8();
        if self.number() {
            return Ok(Kind::Number);
        }
        if self.rest_of_duration() {
            return Ok(Kind::Duration);
        }
        let read = super::print::quote(&self.text[self.start..self.at]);
        Err(format!("bad number or duration syntax: {read}"))
    }

    /// A number in any of its forms; what it stops at may be the unit of a duration.
    fn number(&mut self) -> bool {
        let hex = self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X'));
        let digit = |c: char| c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
        let exponent = |c: char| matches!(c, 'e' | 'E');
        if hex {
            self.accept(|c| c == '_');
        }
        self.accept(|c| c == '.');
        self.accept(digit);
        let (mut dots, mut exponents) = (0, 0);
        loop {
            if self.accept(digit) {
                self.accept_all(digit);
            } else if self.accept(|c| c == '.') {
                dots += 1;
                if dots > 1 || hex || self.accept(|c| matches!(c, '_' | '.')) {
                    return false;
                }
            } else if self.accept(exponent) {
                exponents += 1;
                if exponents > 1 {
                    return false;
                }
                self.accept(|c| matches!(c, '+' | '-'));
                if self.accept(|c| matches!(c, '.' | '_') || exponent(c)) || self.peek().is_none() {
                    return false;
                }
            } else if self.accept(|c| c == '_') {
                if self.accept(|c| matches!(c, '.' | '_') || exponent(c)) || self.peek().is_none() {
                    return false;
                }
            } else {
                return !self.peek().is_some_and(is_alphanumeric);
            }
        }
    }

    fn rest_of_duration(&mut self) -> bool {
        if !self.accept(|c| "smhdwy".contains(c)) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_all(|c| c.is_ascii_digit());
            if !self.accept(|c| "smhdw".contains(c)) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        !self.accept(is_alphanumeric)
    }
}

fn arithmetic(c: char) -> BinaryOp {
    match c {
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        _ => BinaryOp::Pow,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// A character as Go's `%q` writes it; the end of the input as the replacement character.
fn quoted(c: impl Into<Option<char>>) -> String {
    match c.into().unwrap_or('\u{fffd}') {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = super::print::quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}
